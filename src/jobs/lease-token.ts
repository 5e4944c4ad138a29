import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { z } from "zod";
import { createStateCache } from "../eventlog/state-cache.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** What a lease token holds. It is sealed: workers can neither read nor make one. */
export interface LeaseTicket {
  readonly workspaceId: string;
  readonly runId: string;
  readonly leaseId: string;
  /** Where the job's acknowledgements go. */
  readonly ackSubject: string;
}

const ticketSchema = z.tuple([z.string(), z.string(), z.string(), z.string()]);
const cipher = "aes-256-gcm";
const ivBytes = 12;
const tagBytes = 16;
/** How much of the tokens in use is kept open, in bytes: a worker comes with the same one for everything it records. */
const openBytes = 4 * 1024 * 1024;

/** Seals and opens lease tokens with a key that all servers of an installation share. */
export interface LeaseTokens {
  seal(ticket: LeaseTicket): string;
  /** The ticket. INVALID_REQUEST when the token was not made with this key or belongs to another workspace. */
  open(token: string, workspaceId: string): LeaseTicket;
}

/** Lease tokens sealed with AES-256-GCM. `key` is 32 bytes. */
export function createLeaseTokens(key: Uint8Array): LeaseTokens {
  const opened = createStateCache<{ readonly ticket: LeaseTicket; readonly sizeBytes: number }>(openBytes);

  function ticketOf(token: string): LeaseTicket | undefined {
    const known = opened.get(token);
    if (known !== undefined) return known.ticket;
    const ticket = tryOpen(key, Buffer.from(token, "base64url"));
    if (ticket !== undefined) opened.set(token, { ticket, sizeBytes: token.length });
    return ticket;
  }

  return {
    seal({ workspaceId, runId, leaseId, ackSubject }) {
      const iv = randomBytes(ivBytes);
      const sealing = createCipheriv(cipher, key, iv);
      const text = JSON.stringify([workspaceId, runId, leaseId, ackSubject]);
      return Buffer.concat([iv, sealing.update(text, "utf8"), sealing.final(), sealing.getAuthTag()]).toString(
        "base64url",
      );
    },
    open(token, workspaceId) {
      const ticket = ticketOf(token);
      if (ticket === undefined || ticket.workspaceId !== workspaceId) {
        throw new SignalboxError(
          "INVALID_REQUEST",
          "lease_token is not a lease token of this workspace; use the one that ClaimRun returned, unchanged",
        );
      }
      return ticket;
    },
  };
}

function tryOpen(key: Uint8Array, bytes: Buffer): LeaseTicket | undefined {
  if (bytes.length <= ivBytes + tagBytes) return undefined;
  const opening = createDecipheriv(cipher, key, bytes.subarray(0, ivBytes));
  opening.setAuthTag(bytes.subarray(bytes.length - tagBytes));
  try {
    const text = Buffer.concat([opening.update(bytes.subarray(ivBytes, -tagBytes)), opening.final()]).toString("utf8");
    const [workspaceId, runId, leaseId, ackSubject] = ticketSchema.parse(JSON.parse(text));
    return { workspaceId, runId, leaseId, ackSubject };
  } catch {
    // Any failure means the same: nobody sealed this with our key.
    return undefined;
  }
}
