/** A read that was begun. */
interface Reading<T> {
  readonly result: Promise<T>;
  /** The one after it, for those who came too late; undefined while nobody has. */
  next: Promise<T> | undefined;
}

/**
 * The read, shared by those who ask for the same key at the same time. What a caller gets was read after it has asked: who
 * comes while a read is under way waits for the next one, together with everybody else who does. All of them get its error.
 */
export function shareReads<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const underWay = new Map<string, Reading<T>>();

  function begin(key: string): Promise<T> {
    const reading: Reading<T> = { result: read(key), next: undefined };
    underWay.set(key, reading);
    const end = () => {
      if (reading.next === undefined) underWay.delete(key);
    };
    reading.result.then(end, end);
    return reading.result;
  }

  return (key) => {
    const reading = underWay.get(key);
    if (reading === undefined) return begin(key);
    const after = () => begin(key);
    return (reading.next ??= reading.result.then(after, after));
  };
}
