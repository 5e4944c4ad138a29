import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** What a unary call was answered with. */
export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** An error as Connect writes it in JSON. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details?: { readonly type: string; readonly debug?: Record<string, unknown> }[];
}

/** The google.rpc.ErrorInfo of an error. */
export function infoOf({ details }: ErrorBody): Record<string, unknown> | undefined {
  return details?.find(({ type }) => type === "google.rpc.ErrorInfo")?.debug;
}

/** One message of a stream as Connect frames it: a byte of flags, four of length, and the message. */
export interface Envelope {
  readonly flags: number;
  readonly message: Uint8Array;
}

/** The flag of the last envelope of a Connect stream. */
export const endStreamFlag = 2;

/** Calls a unary method with JSON, as curl does over HTTP/1.1. `method` is `RunService/GetRun`. */
export async function postJson<T>(
  url: string,
  method: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  const response = await fetch(`${url}/signalbox.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as T };
}

/** Calls a unary method with a binary message; returns the binary answer. */
export async function postBinary(
  url: string,
  method: string,
  message: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Uint8Array> {
  const response = await fetch(`${url}/signalbox.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/proto", ...headers },
    body: message,
  });
  if (!response.ok) throw new Error(`${method} answered ${response.status}: ${await response.text()}`);
  return response.bytes();
}

/** Calls a server-streaming method and returns every envelope of the answer, once it has ended. */
export async function postStream(
  url: string,
  method: string,
  encoding: "json" | "proto",
  message: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Envelope[]> {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const response = await fetch(`${url}/signalbox.v1.${method}`, {
    method: "POST",
    headers: { "content-type": `application/connect+${encoding}`, ...headers },
    body: Buffer.concat([head, message]),
  });
  return Array.fromAsync(readEnvelopes([await response.bytes()]));
}

/** The envelopes of a Connect stream as its bytes come. */
export async function* readEnvelopes(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Envelope> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      yield { flags: rest.readUInt8(), message: rest.subarray(5, end) };
      rest = rest.subarray(end);
    }
  }
}

/** The bytes of every length-delimited field with this number, in order, as they stand on the wire. */
export function rawFields(message: Uint8Array, fieldNumber: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === fieldNumber && wireType === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wireType, number);
  }
  return found;
}
