"""
The GraphQL documents that go to Shopify's Admin API, and the shapes of what comes back.

Facts: shopify.dev/docs/api/admin-graphql/2026-10 (fields), .../usage/implementing-idempotency (``@idempotent``).
"""

from __future__ import annotations

LINES = 5  # of an order, at once: most have fewer, and each place costs points
SHIPPINGS = 5

SHOP = """
query Shop {
  shop { id name myshopifyDomain currencyCode }
  currentAppInstallation { accessScopes { handle } }
}
"""

NOW = "query Now { shop { id } }"

LOCATIONS = "query Locations { locations(first: 50) { nodes { id name isActive } } }"

FIGURES = """
query Figures($ids: [ID!]!, $location: ID!) {
  nodes(ids: $ids) {
    ... on InventoryItem {
      id tracked inventoryLevel(locationId: $location) { quantities(names: ["available"]) { name quantity } }
    }
  }
}
"""

PRODUCTS = """
query Products($first: Int!, $after: String, $location: ID!) {
  productVariants(first: $first, after: $after) {
    nodes {
      id sku displayName price compareAtPrice inventoryPolicy
      product { id }
      inventoryItem {
        id tracked inventoryLevel(locationId: $location) { quantities(names: ["available"]) { name quantity } }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""

SUBSCRIPTIONS = """
query Subscriptions($after: String) {
  webhookSubscriptions(
    first: 100, after: $after, topics: [ORDERS_CREATE, ORDERS_UPDATED, ORDERS_PAID, ORDERS_CANCELLED]
  ) {
    nodes { topic uri }
    pageInfo { hasNextPage endCursor }
  }
}
"""

SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $uri: String!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: { uri: $uri, format: JSON }) {
    webhookSubscription { id }
    userErrors { field message }
  }
}
"""

PRICES = """
query Prices($ids: [ID!]!) {
  nodes(ids: $ids) { ... on ProductVariant { id price compareAtPrice product { id } } }
}
"""

SET_PRICES = """
mutation SetPrices($product: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $product, variants: $variants) {
    productVariants { id price compareAtPrice }
    userErrors { field message }
  }
}
"""

_LINE = """
fragment Line on LineItem {
  id name sku quantity currentQuantity requiresShipping
  variant { legacyResourceId }
  originalUnitPriceSet { shopMoney { amount } }
  discountAllocations { allocatedAmountSet { shopMoney { amount } } }
}
"""

_ADDRESS = "name company address1 address2 city province provinceCode zip countryCodeV2 phone"

ORDERS = (
    """
query Orders($first: Int!, $after: String, $query: String!, $lines: Int!, $shippings: Int!) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes {
      id name createdAt updatedAt cancelledAt test currencyCode displayFinancialStatus taxesIncluded dutiesIncluded
      email phone note tags sourceName
      totalPriceSet { shopMoney { amount } }
      currentTotalPriceSet { shopMoney { amount } }
      totalTaxSet { shopMoney { amount } }
      currentTotalTaxSet { shopMoney { amount } }
      currentTotalDutiesSet { shopMoney { amount } }
      currentTotalAdditionalFeesSet { shopMoney { amount } }
      customer { firstName lastName defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber } }
      billingAddress { _ADDRESS_ }
      shippingAddress { _ADDRESS_ }
      refunds { id }
      lineItems(first: $lines) { nodes { ...Line } pageInfo { hasNextPage endCursor } }
      shippingLines(first: $shippings) { nodes { isRemoved currentDiscountedPriceSet { shopMoney { amount } } } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
""".replace("_ADDRESS_", _ADDRESS)
    + _LINE
)

LINES_OF = (
    """
query LinesOf($id: ID!, $after: String!, $first: Int!) {
  order(id: $id) { updatedAt lineItems(first: $first, after: $after) {
    nodes { ...Line } pageInfo { hasNextPage endCursor }
  } }
}
"""
    + _LINE
)


def set_figures(groups: int) -> str:
    """
    Return the mutation that sets figures in *groups*, each of which is applied as a whole or not at all.

    A mutation for each, in one request: they run one after the other, and a stale figure refuses its own group alone.
    """
    names = range(groups)
    declared = ", ".join(f"$input{n}: InventorySetQuantitiesInput!, $key{n}: String!" for n in names)
    fields = "\n".join(
        f"  group{n}: inventorySetQuantities(input: $input{n}) @idempotent(key: $key{n})"
        " { userErrors { code field message } }"
        for n in names
    )
    return f"mutation SetFigures({declared}) {{\n{fields}\n}}\n"
