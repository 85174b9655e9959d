import { readFileSync } from 'node:fs';

import {
    DefaultJobQueuePlugin,
    DefaultLogger,
    dummyPaymentHandler,
    LogLevel,
    VendureConfig,
} from '@vendure/core';

import { FlashdPlugin } from './flashd-plugin';

const LONGEST_MS = 60_000;

/** Return a setting that must be there. */
function need(name: string): string {
    const value = process.env[name];
    if (!value) {
        throw new Error(`${name} is not set; the README lists what the shop wants`);
    }
    return value;
}

function secret(name: string): string {
    return readFileSync(need(name), 'utf8').trim();
}

/** Without FLASHD_URL this is a plain Vendure shop: what it does alone can be compared. */
const flashd = process.env.FLASHD_URL
    ? [
          FlashdPlugin.init({
              url: process.env.FLASHD_URL,
              channel: process.env.FLASHD_CHANNEL ?? 'vendure',
              token: secret('FLASHD_TOKEN_FILE'),
              secret: secret('FLASHD_SECRET_FILE'),
              whenAway: process.env.FLASHD_WHEN_AWAY === 'sell' ? 'sell' : 'close',
          }),
      ]
    : [];

export const config: VendureConfig = {
    logger: new DefaultLogger({ level: LogLevel.Warn }),
    apiOptions: {
        hostname: '127.0.0.1',
        port: Number(process.env.PORT ?? 3000),
        adminApiPath: 'admin-api',
        shopApiPath: 'shop-api',
        cors: false, // name your storefront's address here
    },
    authOptions: {
        tokenMethod: ['bearer', 'api-key'], // buyers and humans the first, flashd the second; no cookies
        superadminCredentials: { identifier: 'superadmin', password: need('SUPERADMIN_PASSWORD') },
    },
    dbConnectionOptions: {
        type: 'postgres',
        url: need('DATABASE_URL'),
        synchronize: process.env.DATABASE_SYNCHRONIZE === '1', // a real shop writes migrations
        logging: false,
        // A transaction of Vendure may ask for a second connection, such as to refresh a cache. With the usual ten, a
        // rush of buyers can hold them all while each waits for one more, for ever: have many, and do not wait for ever.
        extra: { max: 80, connectionTimeoutMillis: 20_000 },
    },
    // The dummy handler takes every payment at once. A real shop puts its payment provider here.
    paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
    customFields: {},
    plugins: [
        DefaultJobQueuePlugin.init({
            backoffStrategy: (_queue, attempts) => Math.min(LONGEST_MS, 500 * 2 ** Math.min(attempts, 10)),
            concurrency: 4,
        }),
        ...flashd,
    ],
};
