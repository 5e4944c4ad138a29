import type { DescService } from "@bufbuild/protobuf";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { ServerReflection, type ServerReflectionRequest } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as AlphaRequest,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { createDescriptorSet, type DescriptorSet } from "./descriptor-set.ts";

type Question = ServerReflectionRequest["messageRequest"] | AlphaRequest["messageRequest"];

/** The parts that both versions have in common. */
type Answer =
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "errorResponse"; value: { errorCode: Code; errorMessage: string } };

/**
 * Routes of grpc.reflection.v1 and v1alpha ServerReflection over the given services and the reflection services
 * themselves. Files come with everything that they import, so that a client needs one question per service.
 */
export function reflectionRoutes(services: readonly DescService[]): (router: ConnectRouter) => void {
  const all = [...services, ServerReflection, ServerReflectionAlpha];
  const names = all.map(({ typeName }) => typeName).toSorted();
  const descriptors = createDescriptorSet(all);

  async function* v1(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      const messageResponse = answerTo(request.messageRequest, names, descriptors);
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }

  async function* v1alpha(requests: AsyncIterable<AlphaRequest>) {
    for await (const request of requests) {
      const messageResponse = answerTo(request.messageRequest, names, descriptors);
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }

  return (router) => {
    router.service(ServerReflection, { serverReflectionInfo: v1 });
    router.service(ServerReflectionAlpha, { serverReflectionInfo: v1alpha });
  };
}

function answerTo(question: Question, names: readonly string[], descriptors: DescriptorSet): Answer {
  switch (question.case) {
    case "listServices":
      return { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } };
    case "fileByFilename":
      return files(descriptors.fileByName(question.value), `file ${question.value}`);
    case "fileContainingSymbol":
      return files(descriptors.fileBySymbol(question.value), `symbol ${question.value}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = question.value;
      const found = descriptors.fileByExtension(containingType, extensionNumber);
      return files(found, `extension ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      const extensionNumber = descriptors.extensionNumbers(question.value);
      if (extensionNumber === undefined) return refusal(Code.NotFound, `unknown message ${question.value}`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: question.value, extensionNumber } };
    }
    case undefined:
      return refusal(Code.InvalidArgument, "the request asks nothing: set one field of message_request");
  }
}

function files(fileDescriptorProto: Uint8Array[] | undefined, what: string): Answer {
  if (fileDescriptorProto === undefined) return refusal(Code.NotFound, `unknown ${what}`);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function refusal(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
