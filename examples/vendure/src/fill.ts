import { bootstrap, InitialData, LanguageCode, PaymentMethodService, RequestContextService } from '@vendure/core';
import { populate } from '@vendure/core/cli';
import path from 'node:path';

import { config } from './vendure-config';

const SHOP: InitialData = {
    defaultLanguage: LanguageCode.en,
    defaultZone: 'Everywhere',
    countries: [
        { code: 'DE', name: 'Germany', zone: 'Everywhere' },
        { code: 'GB', name: 'United Kingdom', zone: 'Everywhere' },
        { code: 'US', name: 'United States', zone: 'Everywhere' },
    ],
    taxRates: [{ name: 'Standard Tax', percentage: 20 }],
    shippingMethods: [{ name: 'Parcel', price: 500 }],
    paymentMethods: [],
    collections: [],
};

/** Fill an empty database: countries, taxes, a way to ship and one to pay, and the products of data/products.csv. */
async function main(): Promise<void> {
    const synchronized = { ...config, dbConnectionOptions: { ...config.dbConnectionOptions, synchronize: true } };
    const products = path.join(__dirname, '..', 'data', 'products.csv');
    const app = await populate(() => bootstrap(synchronized), SHOP, products);
    const ctx = await app.get(RequestContextService).create({ apiType: 'admin' });
    await app.get(PaymentMethodService).create(ctx, {
        code: 'demo',
        enabled: true,
        handler: { code: 'dummy-payment-handler', arguments: [{ name: 'automaticSettle', value: 'true' }] },
        checker: process.env.FLASHD_URL ? { code: 'flashd-hold', arguments: [] } : undefined,
        translations: [{ languageCode: LanguageCode.en, name: 'Demo payment', description: 'Takes every payment' }],
    });
    await app.close();
}

main().then(
    () => process.exit(0),
    error => {
        console.error(error);
        process.exit(1);
    },
);
