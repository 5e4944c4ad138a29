import { defineHandler, defineTool, ToolEffect } from "signalbox/worker";
import { z } from "zod";

export interface Shop {
  price(seller: string, item: string): Promise<number>;
  order(key: string, seller: string, item: string): Promise<string>;
}

/** Asks sellers for prices, waits for a person to choose, and orders once somebody has approved that. */
export function purchase(shop: Shop) {
  const order = defineTool({
    name: "shop.order",
    description: "Orders an item from a seller.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: z.object({ seller: z.string(), item: z.string() }),
    run: ({ seller, item }, { toolCallId }) => shop.order(toolCallId, seller, item),
  });
  const input = z.object({ item: z.string(), sellers: z.array(z.string()).min(1) });
  return defineHandler({ input, agent: { name: "Buyer" } }, async (ctx, { item, sellers }) => {
    const prices = await Promise.all(
      sellers.map((seller) =>
        ctx.step(`price at ${seller}`, () => shop.price(seller, item), { retry: { maxAttempts: 5 } }),
      ),
    );
    ctx.emit(`${prices.length} prices for ${item}: who shall it be?`);
    const seller = z.enum(sellers).parse(await ctx.waitForMessage());
    await ctx.sleep(24 * 3_600_000);
    return { seller, price: prices[sellers.indexOf(seller)], order: await ctx.tool(order, { seller, item }) };
  });
}
