import { bootstrap, JobQueueService } from '@vendure/core';

import { config } from './vendure-config';

/** The shop and its worker in one process. A larger shop runs `bootstrapWorker` in a process of its own. */
async function main(): Promise<void> {
    const app = await bootstrap(config);
    await app.get(JobQueueService).start();
    process.once('SIGTERM', () => void app.close().then(() => process.exit(0)));
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
