import type { DescMethod } from "@bufbuild/protobuf";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";

/** The methods that need no credential where all others do: who calls them proves themselves by what they sign. */
export const openMethods: ReadonlySet<DescMethod> = new Set([
  ArtifactService.method.createAccessChallenge,
  ArtifactService.method.answerAccessChallenge,
]);
