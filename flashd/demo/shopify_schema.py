"""The part of Shopify's Admin GraphQL schema (2026-10) that the simulated shop has: names as the vendor writes them."""

from __future__ import annotations

from flashd.demo.graphql import Schema

API_VERSION = "2026-10"
_MONEY = "shopMoney:MoneyV2 presentmentMoney:MoneyV2"
_ADDRESS = (
    "name firstName lastName company address1 address2 city province provinceCode zip country countryCodeV2 phone"
)

SCHEMA = Schema(f"""
QueryRoot: shop:Shop currentAppInstallation:AppInstallation \
nodes(ids):[Node node(id):Node order(id):Order location(id):Location \
locations(first after):LocationConnection orders(first after query sortKey reverse):OrderConnection \
productVariants(first after query):ProductVariantConnection products(first after query):ProductConnection \
inventoryItems(first after query):InventoryItemConnection \
webhookSubscriptions(first after topics uri):WebhookSubscriptionConnection
Mutation: inventorySetQuantities(input):InventorySetQuantitiesPayload \
productVariantsBulkUpdate(productId variants allowPartialUpdates):ProductVariantsBulkUpdatePayload \
webhookSubscriptionCreate(topic webhookSubscription):WebhookSubscriptionCreatePayload
Node: id
AppInstallation: id accessScopes:[AccessScope
AccessScope: handle
Shop: id name email myshopifyDomain currencyCode url ianaTimezone plan:ShopPlan
ShopPlan: publicDisplayName
Location: id name isActive fulfillsOnlineOrders shipsInventory
Product: id title status variants(first after):ProductVariantConnection
ProductVariant: id legacyResourceId title displayName sku price compareAtPrice inventoryPolicy inventoryQuantity \
inventoryItem:InventoryItem product:Product
InventoryItem: id legacyResourceId sku tracked variant:ProductVariant inventoryLevel(locationId):InventoryLevel \
inventoryLevels(first after):InventoryLevelConnection
InventoryLevel: id isActive updatedAt item:InventoryItem location:Location quantities(names):[InventoryQuantity
InventoryQuantity: name quantity updatedAt
InventoryAdjustmentGroup: id createdAt reason referenceDocumentUri changes:[InventoryChange
InventoryChange: name delta quantityAfterChange item:InventoryItem location:Location
InventorySetQuantitiesPayload: inventoryAdjustmentGroup:InventoryAdjustmentGroup userErrors:[UserError
ProductVariantsBulkUpdatePayload: product:Product productVariants:[ProductVariant userErrors:[UserError
WebhookSubscriptionCreatePayload: webhookSubscription:WebhookSubscription userErrors:[UserError
UserError: code field message
WebhookSubscription: id topic uri format createdAt updatedAt apiVersion:ApiVersion
ApiVersion: handle supported
MoneyBag: {_MONEY}
MoneyV2: amount currencyCode
DiscountAllocation: allocatedAmountSet:MoneyBag
MailingAddress: {_ADDRESS}
CustomerEmailAddress: emailAddress
CustomerPhoneNumber: phoneNumber
Customer: id firstName lastName defaultEmailAddress:CustomerEmailAddress defaultPhoneNumber:CustomerPhoneNumber
Refund: id createdAt
AdditionalFee: id name price:MoneyBag
LineItem: id name title sku quantity currentQuantity requiresShipping variant:ProductVariant \
originalUnitPriceSet:MoneyBag discountAllocations:[DiscountAllocation
ShippingLine: id title isRemoved originalPriceSet:MoneyBag discountedPriceSet:MoneyBag \
currentDiscountedPriceSet:MoneyBag discountAllocations:[DiscountAllocation
Order: id legacyResourceId name createdAt updatedAt processedAt cancelledAt test currencyCode displayFinancialStatus \
taxesIncluded dutiesIncluded totalPriceSet:MoneyBag currentTotalPriceSet:MoneyBag totalTaxSet:MoneyBag \
currentTotalTaxSet:MoneyBag currentTotalDutiesSet:MoneyBag currentTotalAdditionalFeesSet:MoneyBag email phone note \
tags sourceName customer:Customer billingAddress:MailingAddress shippingAddress:MailingAddress refunds(first):[Refund \
lineItems(first after):LineItemConnection shippingLines(first after includeRemovals):ShippingLineConnection
""")
