import {
    LocationWithQuantity,
    MultiChannelStockLocationStrategy,
    OrderLine,
    RequestContext,
    StockLocation,
} from '@vendure/core';

/**
 * Allocates all units of a placed order, also those that stock on hand does not show.
 *
 * While a buyer is at the till, flashd has taken the buyer's units off the figure already. Vendure's own strategy then
 * allocates less than was sold, or nothing, and nobody could ship the order or take it back. The rest is allocated at
 * the oldest location, where flashd writes its figures and adds to them what is allocated.
 */
export class WholeAllocation extends MultiChannelStockLocationStrategy {
    override async forAllocation(
        ctx: RequestContext,
        stockLocations: StockLocation[],
        orderLine: OrderLine,
        quantity: number,
    ): Promise<LocationWithQuantity[]> {
        const found = await super.forAllocation(ctx, stockLocations, orderLine, quantity);
        const rest = quantity - found.reduce((sum, one) => sum + one.quantity, 0);
        const oldest = [...stockLocations].sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())[0];
        if (rest <= 0 || oldest === undefined) {
            return found;
        }
        const there = found.find(one => one.location.id === oldest.id)?.quantity ?? 0;
        return [
            ...found.filter(one => one.location.id !== oldest.id),
            { location: oldest, quantity: there + rest },
        ];
    }
}
