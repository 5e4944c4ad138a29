import { type Logger, pino } from "pino";

/** Writes nothing: what a test wants to know it looks up. */
export const silent: Logger = pino({ level: "silent" });
