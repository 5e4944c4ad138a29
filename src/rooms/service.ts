import type { ConnectRouter } from "@connectrpc/connect";
import { RoomService } from "../../gen/signalbox/v1/room_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { GetChanges } from "./changes.ts";
import type { Cursors } from "./cursors.ts";
import type { Messages } from "./messages.ts";
import type { Rooms } from "./rooms.ts";
import type { Threads } from "./threads.ts";

/** What RoomService is made of. */
export interface RoomParts {
  readonly rooms: Rooms;
  readonly threads: Threads;
  readonly messages: Messages;
  readonly cursors: Cursors;
  readonly getChanges: GetChanges;
}

/** Serves RoomService. */
export function roomRoutes(router: ConnectRouter, { rooms, threads, messages, cursors, getChanges }: RoomParts): void {
  router.service(RoomService, {
    createRoom: (request, context) => rooms.create(callOf(context), request),
    getRoom: async ({ roomId }, context) => ({ room: await rooms.get(callOf(context), roomId) }),
    listRooms: (request, context) => rooms.list(callOf(context), request),
    updateRoom: (request, context) => rooms.update(callOf(context), request),
    archiveRoom: ({ roomId }, context) => rooms.archive(callOf(context), roomId),
    addRoomMember: (request, context) => rooms.addMember(callOf(context), request),
    removeRoomMember: (request, context) => rooms.removeMember(callOf(context), request),
    listRoomMembers: (request, context) => rooms.listMembers(callOf(context), request),
    createThread: (request, context) => threads.create(callOf(context), request),
    listThreads: (request, context) => threads.list(callOf(context), request),
    postMessage: (request, context) => messages.post(callOf(context), request),
    editMessage: (request, context) => messages.edit(callOf(context), request),
    redactMessage: (request, context) => messages.redact(callOf(context), request),
    getMessage: async ({ messageId }, context) => ({ message: await messages.get(callOf(context), messageId) }),
    listMessages: (request, context) => messages.list(callOf(context), request),
    markRead: (request, context) => cursors.markRead(callOf(context), request),
    listUnread: (request, context) => cursors.listUnread(callOf(context), request),
    getRoomChanges: (request, context) => getChanges(callOf(context), request),
  });
}
