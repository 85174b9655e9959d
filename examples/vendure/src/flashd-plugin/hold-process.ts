import { LanguageCode, OrderProcess, PaymentMethodEligibilityChecker } from '@vendure/core';

import { HoldKeeper } from './hold-keeper';

/**
 * Ask flashd before a buyer may pay.
 *
 * It runs after the shop's own checks, so nothing is held for an order that could not go on anyway.
 */
export function holdProcess(): OrderProcess<never> {
    let keeper: HoldKeeper;
    return {
        init(injector) {
            keeper = injector.get(HoldKeeper);
        },
        async onTransitionStart(fromState, toState, { ctx, order }) {
            if (toState === 'ArrangingPayment') {
                return keeper.ensure(ctx, order);
            }
            if (isLeft(fromState, toState)) {
                await keeper.leave(ctx, order);
            }
            return true;
        },
    };
}

/** Say whether a buyer has left the till without having paid. */
export function isLeft(fromState: string, toState: string): boolean {
    return fromState === 'ArrangingPayment' && (toState === 'AddingItems' || toState === 'Cancelled');
}

let keeperOfChecker: HoldKeeper;

/**
 * Look once more when the payment is made: a buyer who took longer than the hold lives gets a new one, or is told that
 * the goods are gone *before* any money moves. Choose it as the eligibility checker of every payment method.
 */
export const holdChecker = new PaymentMethodEligibilityChecker({
    code: 'flashd-hold',
    description: [{ languageCode: LanguageCode.en, value: 'The goods are still set aside by flashd' }],
    args: {},
    init(injector) {
        keeperOfChecker = injector.get(HoldKeeper);
    },
    check(ctx, order) {
        // Shops list payment methods early on; then there is nothing to be held yet.
        return order.state === 'ArrangingPayment' ? keeperOfChecker.ensure(ctx, order) : true;
    },
});
