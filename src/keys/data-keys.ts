import { SignalboxError } from "../kernel/errors.ts";
import { wrapToRecipient } from "./recipient.ts";
import type { DataRecord } from "./records.ts";
import { newKey, unwrap, wrap } from "./wrapping.ts";

/** Whose key a record holds. */
export interface DataKeyOwner {
  readonly workspaceId: string;
  readonly artifactId: string;
}

/** A workspace key that is open. */
export interface OpenWorkspaceKey {
  readonly keyId: string;
  readonly key: Uint8Array;
}

/** A fresh key for an artifact, wrapped by the workspace's key, and to the recipient if there is one. */
export async function freshRecord(
  owner: DataKeyOwner,
  by: OpenWorkspaceKey,
  { recipient, createTime }: Pick<DataRecord, "recipient" | "createTime">,
): Promise<DataRecord> {
  const key = newKey();
  const base = { createTime, keyId: by.keyId, key: wrap(by.key, key, keyLabel(owner)) };
  if (recipient === undefined) return base;
  return { ...base, recipient, age: wrap(by.key, await wrapToRecipient(recipient, key), ageLabel(owner, recipient)) };
}

/** The data key of a record that has one. ARTIFACT_CORRUPT when it is not what was wrapped. */
export function openKey(owner: DataKeyOwner, by: OpenWorkspaceKey, wrapped: Uint8Array): Uint8Array {
  return opened(owner, by, wrapped, keyLabel(owner));
}

/** The age file for a recipient. ARTIFACT_CORRUPT when it is not what was wrapped. */
export function openAge(owner: DataKeyOwner, by: OpenWorkspaceKey, recipient: string, wrapped: Uint8Array): Uint8Array {
  return opened(owner, by, wrapped, ageLabel(owner, recipient));
}

/** The record wrapped by another key of the workspace; what is in it stays as it is. ARTIFACT_CORRUPT. */
export function rewrap(
  owner: DataKeyOwner,
  record: DataRecord,
  from: OpenWorkspaceKey,
  to: OpenWorkspaceKey,
): DataRecord {
  const { key, age, recipient } = record;
  const again = (wrapped: Uint8Array, label: string) => wrap(to.key, opened(owner, from, wrapped, label), label);
  return {
    ...record,
    keyId: to.keyId,
    ...(key === undefined ? {} : { key: again(key, keyLabel(owner)) }),
    ...(age === undefined || recipient === undefined ? {} : { age: again(age, ageLabel(owner, recipient)) }),
  };
}

function opened({ artifactId }: DataKeyOwner, by: OpenWorkspaceKey, wrapped: Uint8Array, label: string): Uint8Array {
  try {
    return unwrap(by.key, wrapped, label);
  } catch (error) {
    throw new SignalboxError("ARTIFACT_CORRUPT", `the stored key of ${artifactId} is damaged`, {}, error);
  }
}

function keyLabel({ workspaceId, artifactId }: DataKeyOwner): string {
  return `signalbox data key ${workspaceId} ${artifactId}`;
}

function ageLabel({ workspaceId, artifactId }: DataKeyOwner, recipient: string): string {
  return `signalbox data key for a recipient ${workspaceId} ${artifactId} ${recipient}`;
}
