import { Code, ConnectError, type ConnectRouterOptions } from "@connectrpc/connect";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * How request bodies in JSON are read: an unknown field is an error that names it, and so is text that is not UTF-8.
 * Connect's own defaults ignore the one and put replacement characters for the other.
 */
export function strictJson(): NonNullable<ConnectRouterOptions["jsonOptions"]> {
  const options = {
    ignoreUnknownFields: false,
    // Read by createJsonSerialization of Connect, though the option's type does not show it.
    textDecoder: { decode },
  };
  return options;
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new ConnectError("the JSON body is not valid UTF-8", Code.InvalidArgument);
  }
}
