import type { Agent } from "../../gen/signalbox/v1/agent_pb.ts";
import type { SignalboxClient } from "../client/client.ts";
import { type PresetName, presets } from "../engine/agent/presets.ts";
import { starterDocuments } from "../engine/agent/starter-documents.ts";

/** What a workspace begins with. */
export interface StarterSet {
  /** The agents of the presets, in the order of the presets. */
  readonly agents: readonly Agent[];
  /** How many documents there are to look things up in. */
  readonly documentCount: number;
}

/** Creates the agents of all presets and adds the starter documents. What is there already stays as it is. */
export async function createStarterSet(client: SignalboxClient, signal: AbortSignal): Promise<StarterSet> {
  const names = Object.keys(presets) as PresetName[];
  const [agents] = await Promise.all([
    Promise.all(names.map((name) => createPreset(client, name, signal))),
    Promise.all(starterDocuments.map((document) => client.documents.addDocument(document, { signal }))),
  ]);
  return { agents, documentCount: starterDocuments.length };
}

/** The agent of a preset, created unless it is there. */
export async function createPreset(client: SignalboxClient, name: PresetName, signal: AbortSignal): Promise<Agent> {
  const { agent } = await client.agents.createAgent(presets[name], { signal });
  if (agent === undefined) throw new Error("the server answered without an agent");
  return agent;
}
