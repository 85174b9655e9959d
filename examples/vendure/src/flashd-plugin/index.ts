import {
    defaultOrderProcess,
    MultiChannelStockLocationStrategy,
    PluginCommonModule,
    Type,
    VendurePlugin,
} from '@vendure/core';

import { FlashdClient } from './client';
import { HoldKeeper } from './hold-keeper';
import { holdChecker, holdProcess } from './hold-process';
import { complete, CompleteOptions, FLASHD_OPTIONS, FlashdOptions } from './options';
import { OrderFeed } from './order-feed';
import { WholeAllocation } from './whole-allocation';

export { FlashdOptions, Shortage } from './options';
export { QUEUE } from './order-feed';

/**
 * A shop that asks flashd before it sells.
 *
 * Before payment flashd sets the goods aside (`hold-process.ts`); a placed order goes to flashd as a signed message
 * through the job queue (`order-feed.ts`). It adds one custom field to Order, so it wants a migration.
 */
@VendurePlugin({
    compatibility: '^3.7.0',
    imports: [PluginCommonModule],
    providers: [
        { provide: FLASHD_OPTIONS, useFactory: () => FlashdPlugin.options },
        FlashdClient,
        HoldKeeper,
        OrderFeed,
    ],
    configuration: config => {
        config.orderOptions.process = [...(config.orderOptions.process ?? [defaultOrderProcess]), holdProcess()];
        config.paymentOptions.paymentMethodEligibilityCheckers = [
            ...(config.paymentOptions.paymentMethodEligibilityCheckers ?? []),
            holdChecker,
        ];
        config.customFields.Order = [
            ...(config.customFields.Order ?? []),
            { name: 'flashdHold', type: 'int', defaultValue: 0, nullable: false, public: false, readonly: true },
        ];
        // Only Vendure's own: who has chosen another strategy has reasons, and must have it allocate whole orders.
        if (config.catalogOptions.stockLocationStrategy?.constructor === MultiChannelStockLocationStrategy) {
            config.catalogOptions.stockLocationStrategy = new WholeAllocation();
        }
        return config;
    },
})
export class FlashdPlugin {
    static options: CompleteOptions;

    static init(options: FlashdOptions): Type<FlashdPlugin> {
        this.options = complete(options);
        return FlashdPlugin;
    }
}
