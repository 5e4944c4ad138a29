/** How many steps the longer kind of work has. */
export const steps = 10;

/** The name of the queue for a kind of work. */
export function queueOf(work) {
  return `bench-${work}`;
}
