import { Order } from '@vendure/core';

/**
 * Return the id of the hold that an order has, or would ask for next.
 *
 * It follows from the order alone, so asking again after a lost answer or a crash is the same hold. The number counts
 * the holds that ended before: a hold's id is never used again.
 */
export function holdIdOf(order: Order): string {
    return numbered(order, numberOf(order));
}

/** Return the id of the hold before that one, or undefined where there was none. */
export function lastHoldIdOf(order: Order): string | undefined {
    return numberOf(order) > 0 ? numbered(order, numberOf(order) - 1) : undefined;
}

export function numberOf(order: Order): number {
    return order.customFields.flashdHold ?? 0;
}

function numbered(order: Order, number: number): string {
    return `${order.code}-${number}`;
}

declare module '@vendure/core/dist/entity/custom-entity-fields' {
    interface CustomOrderFields {
        flashdHold: number;
    }
}
