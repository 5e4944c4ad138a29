/** Where a worker writes: pino's shape, so a pino logger will do. Constant message, fields as data, errors under `err`. */
export interface WorkerLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Writes nothing. */
export const silentLog: WorkerLog = { debug() {}, info() {}, warn() {}, error() {} };

/** The same log with `fields` on every line. */
export function withFields(log: WorkerLog, fields: object): WorkerLog {
  return {
    debug: (more, message) => log.debug({ ...fields, ...more }, message),
    info: (more, message) => log.info({ ...fields, ...more }, message),
    warn: (more, message) => log.warn({ ...fields, ...more }, message),
    error: (more, message) => log.error({ ...fields, ...more }, message),
  };
}
