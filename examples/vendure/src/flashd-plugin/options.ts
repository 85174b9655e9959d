/** Where flashd is, what proves who is calling, and what the shop does while it is away. */

export interface Shortage {
    sku: string;
    name: string;
    wanted: number;
    left: number;
}

export interface FlashdOptions {
    /** The address of flashd's intake, such as http://127.0.0.1:8787. */
    url: string;
    /** The name of the channel that orders go to: `[channels.NAME]` in flashd.toml. */
    channel: string;
    /** The bearer token under which holds are asked for. */
    token: string;
    /** The secret that signs orders: `whsec_` and base64, as Standard Webhooks write it. */
    secret: string;
    /**
     * What happens to a checkout while flashd does not answer. `close`: nothing is sold, and the buyer is told to try
     * again; nothing can be oversold. `sell`: the shop sells on its own stock figures, and may oversell as it would alone.
     */
    whenAway?: 'close' | 'sell';
    /** How long a buyer has for paying before the units are free again. At most the pool's `hold_max_s`. */
    holdMs?: number;
    /** How long to wait for an answer. The buyer waits, too, and so does a database transaction. */
    timeoutMs?: number;
    /** What the buyer reads. */
    messages?: {
        short?: (shortages: Shortage[]) => string;
        /** Why flashd refused what there is enough of, such as `limit`. */
        refused?: (reason: string) => string;
        away?: () => string;
    };
}

/** The injection token of the options. */
export const FLASHD_OPTIONS = Symbol('FLASHD_OPTIONS');

/** Return the options with every default filled in. */
export function complete(options: FlashdOptions) {
    return {
        ...options,
        url: options.url.replace(/\/+$/, ''),
        whenAway: options.whenAway ?? 'close',
        holdMs: options.holdMs ?? 15 * 60_000,
        timeoutMs: options.timeoutMs ?? 5_000,
        messages: { short: sayShort, refused: sayRefused, away: sayAway, ...options.messages },
    };
}

export type CompleteOptions = ReturnType<typeof complete>;

function sayShort(shortages: Shortage[]): string {
    const parts = shortages.map(one =>
        one.left === 0 ? `${one.name} has just been sold out` : `only ${one.left} of ${one.name} are left`,
    );
    return `Sorry: ${parts.join(', and ')}.`;
}

function sayRefused(reason: string): string {
    return reason === 'limit'
        ? 'Sorry: this is more than one customer may buy.'
        : 'Sorry: this cannot be bought at the moment.';
}

function sayAway(): string {
    return 'Sorry: we cannot take orders for a moment. Nothing was charged; please try again.';
}
