import { Order } from '@vendure/core';

import { holdIdOf } from './hold-id';

export interface MessageLine {
    sku: string;
    quantity: number;
    unit_price: number;
    discount: number;
    title: string;
}

/**
 * An order in flashd's own schema: docs/channels/standard_webhooks.md. Money is in minor units, taxes included.
 *
 * flashd_vendure/orders.py says the same of an order that it polls: change both together.
 */
export interface OrderMessage {
    id: string;
    number: string;
    status: 'paid' | 'pending' | 'cancelled';
    updated_at: string;
    placed_at: string;
    currency: string;
    lines: MessageLine[];
    shipping: number;
    discount: number;
    total: number;
    customer: { name: string; email: string; phone: string };
    ship_to: Record<string, string>;
    hold_id: string;
}

/**
 * Return what flashd is told of a placed order.
 *
 * It is always the whole order as it stands: whichever message of an order arrives last or twice, the newest wins.
 * The order must come with its lines, their variants, its surcharges, shipping lines and customer.
 */
export function messageOf(order: Order): OrderMessage {
    const cancelled = order.state === 'Cancelled';
    const lines = order.lines
        .map(line => lineOf(line, cancelled ? line.orderPlacedQuantity : line.quantity))
        .filter(line => line.quantity > 0)
        .sort(byContent);
    const goods = lines.reduce((sum, line) => sum + line.unit_price * line.quantity - line.discount, 0);
    const total = cancelled ? goods : order.totalWithTax;
    // What is neither goods nor shipping (surcharges, a cent of rounding) is a charge or a discount of the order.
    const shipping = cancelled ? 0 : order.shippingWithTax;
    const rest = total - goods - shipping;
    return {
        id: order.code,
        number: order.code,
        status: cancelled ? 'cancelled' : isUnpaid(order) ? 'pending' : 'paid',
        updated_at: order.updatedAt.toISOString(),
        placed_at: (order.orderPlacedAt ?? order.updatedAt).toISOString(),
        currency: order.currencyCode,
        lines,
        shipping: shipping + Math.max(0, rest),
        discount: Math.max(0, -rest),
        total,
        customer: {
            name: [order.customer?.firstName, order.customer?.lastName].filter(Boolean).join(' '),
            email: order.customer?.emailAddress ?? '',
            phone: order.customer?.phoneNumber ?? '',
        },
        ship_to: addressOf(order),
        hold_id: holdIdOf(order),
    };
}

/** Say whether stock is to be kept and delivery to wait: an authorized payment may still fail when it is captured. */
function isUnpaid(order: Order): boolean {
    return order.state === 'PaymentAuthorized';
}

/** flashd polls the same orders through the Admin API, which may list lines in another order. */
function byContent(one: MessageLine, other: MessageLine): number {
    const keys: Array<keyof MessageLine> = ['sku', 'quantity', 'unit_price', 'discount'];
    const differing = keys.find(key => one[key] !== other[key]);
    return differing === undefined ? 0 : one[differing] < other[differing] ? -1 : 1;
}

function lineOf(line: Order['lines'][number], quantity: number): MessageLine {
    const price = line.unitPriceWithTax;
    const saved = line.quantity === quantity ? price * quantity - line.proratedLinePriceWithTax : 0;
    return {
        sku: line.productVariant.sku,
        quantity,
        // A line may cost more than its parts by a cent of rounding; that cent is in the rest of the order.
        unit_price: price,
        discount: Math.max(0, saved),
        title: line.productVariant.name ?? '',
    };
}

function addressOf(order: Order): Record<string, string> {
    const address = order.shippingAddress ?? {};
    const country = address.countryCode ?? '';
    return {
        name: address.fullName ?? '',
        company: address.company ?? '',
        street: address.streetLine1 ?? '',
        street2: address.streetLine2 ?? '',
        city: address.city ?? '',
        region: address.province ?? '',
        postcode: address.postalCode ?? '',
        country: /^[A-Z]{2}$/.test(country) ? country : '',
        phone: address.phoneNumber ?? '',
    };
}
