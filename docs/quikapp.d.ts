// Generated from realtime/src/schema; change it there.
//
// Payloads of all topics and events, for clients written in TypeScript:
//
//   import type { Topics } from "./quikapp";
//   type Send = Topics["chat:<conversation_id>"]["in"]["message:send"];
//   const send: Send["payload"] = { type: "text", content: "hello" };

/** An object without members of meaning. */
export type Empty = Record<string, never>;

/** Why something was refused. */
export type Reason =
  | "unauthorized"
  | "token_expired"
  | "token_revoked"
  | "ticket_invalid"
  | "forbidden"
  | "not_a_participant"
  | "blocked"
  | "room_forbidden"
  | "request_refused"
  | "origin_refused"
  | "conversation_not_found"
  | "message_not_found"
  | "user_not_found"
  | "not_found"
  | "method_not_allowed"
  | "not_connected"
  | "idempotency_conflict"
  | "invalid_body"
  | "invalid_field"
  | "unknown_event"
  | "reserved_event"
  | "not_supported"
  | "payload_too_large"
  | "unsupported_media_type"
  | "rate_limited"
  | "too_many_sockets"
  | "unmatched topic"
  | "too many channels joined"
  | "join crashed"
  | "channel_crash"
  | "overloaded"
  | "moved"
  | "unavailable"
  | "too_many_connections"
  | "too_many_connections_from_address"
  | "restarting"
  | "timeout"
  | "slow_consumer"
  | "too_many_lines"
  | "undecodable"
  | "outcome_unknown"
  | "internal";

/** The response of an error reply. */
export type Refusal = { reason: Reason; field?: string; detail?: string; retry_after_ms?: number };

/** `activity:typing`, `activity:viewing` */
export type Activity = {
  /** In which conversation; the topic's own, without. */
  conversation_id?: string;
};

/** How a client wants to use a room. */
export type BroadcastParams = {
  /** Hear one's own events. */
  self?: boolean;
  /** Answer each event with ok. */
  ack?: boolean;
  /** See who is in the room, and be seen. */
  presence?: boolean;
  /** How the room is shown, with `presence`. */
  mode?: PresenceMode;
};

/** What a person chose to be. */
export type ChosenStatus = "online" | "away" | "busy" | "dnd" | "invisible";

/** A few words about oneself. */
export type CustomStatus = {
  /** At most 100 characters. */
  text: string;
  /** At most 64 bytes. */
  emoji?: string;
  /** When it clears itself. */
  expires_at?: string;
};

/** `user:custom_status:changed` */
export type CustomStatusPayload = {
  /** Who. */
  user_id: string;
  /** Their words; null once they are cleared. */
  custom_status: CustomStatus | null;
  /** When. */
  changed_at: string;
};

/** `status:custom` */
export type CustomStatusUpdate = {
  /** At most 100 characters. */
  text?: string;
  /** At most 64 bytes. */
  emoji?: string;
  /** When it clears itself; never, without. */
  expires_at?: string;
};

/** One device that a person is connected with. */
export type DeviceSeen = {
  /** Its id, if it has one. */
  device_id: string | null;
  /** Since when. */
  online_at: string;
};

/** `user:offline` */
export type OfflinePayload = {
  /** Who. */
  user_id: string;
  /** When, if the person lets everyone know. */
  last_seen: string | null;
};

/** `user:online` */
export type OnlinePayload = {
  /** Who. */
  user_id: string;
  /** What they show. */
  status: ChosenStatus;
  /** Since when. */
  online_at: string;
};

/** A person as one asks for them. */
export type PersonSeen = {
  /** Who. */
  user_id: string;
  /** What to show. */
  status: ShownStatus;
  /** When they were last here; null while they are, or when it is not known. */
  last_seen: string | null;
  /** Their words; null for none, and for people who look offline. */
  custom_status: CustomStatus | null;
  /** Their devices, one item each; empty for people who look offline. */
  devices: Array<DeviceSeen>;
};

/** `presence_count` */
export type PresenceCount = {
  /** People. */
  users: number;
  /** Their channels on this topic. */
  connections: number;
};

/** `presence_diff`: by user id. */
export type PresenceDiff = {
  /** Who, or what, came. An update is in both. */
  joins: Record<string, PresenceEntry>;
  /** Who, or what, went. */
  leaves: Record<string, PresenceEntry>;
};

/** Everything that is shown of a person on a topic. */
export type PresenceEntry = {
  /** One for each of their channels. */
  metas: Array<PresenceMeta>;
};

/** `presence:get` */
export type PresenceGet = {
  /** Of whom, at most 100. */
  user_ids?: Array<string>;
  /** Of whom, if it is only one. */
  user_id?: string;
};

/** The answer to `presence:get`. */
export type PresenceGot = {
  /** In the order asked for. */
  users: Array<PersonSeen>;
};

/** One of a person's channels, as others see it. */
export type PresenceMeta = {
  /** Names this meta. Changes with every update. */
  phx_ref: string;
  /** The meta that this one replaced. */
  phx_ref_prev?: string;
  /** Whose. */
  user_id: string;
  /** What they chose. */
  status: ChosenStatus;
  /** Their words. */
  custom_status?: CustomStatus;
  /** Since when the connection is there. */
  online_at: string;
  /** Which device. */
  device_id?: string;
  /** `viewing`: the person looks at the topic's conversation. */
  activity?: "viewing";
};

/** How a room is shown. */
export type PresenceMode = "list" | "count";

/** How it is shown. */
export type RoomJoined = {
  /** `count` also where the room is too large for a list. */
  mode: PresenceMode;
};

/** How a client wants a room to be shown. */
export type RoomParams = {
  /** As a list, or as counts. */
  mode?: PresenceMode;
};

/** What others see of a person. */
export type ShownStatus = "online" | "away" | "busy" | "dnd" | "invisible" | "offline";

/** `user:status:changed` */
export type StatusPayload = {
  /** Who. */
  user_id: string;
  /** What they chose; `invisible` only on their own topic. */
  status: ChosenStatus;
  /** When. */
  changed_at: string;
};

/** `status:update` */
export type StatusUpdate = {
  /** online, away, busy, dnd or invisible. */
  status: ChosenStatus;
};

/** What is said on which topic. `in` comes from the client, `out` from the server. */
export interface Topics {
  "any joined topic": {
    in: {
      "access_token": { payload: { access_token: string }; reply: Empty };
    };
    out: {
    };
  };
  "chat:lobby": {
    join: { payload: RoomParams; reply: RoomJoined };
    in: {
    };
    out: {
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
      "user:online": OnlinePayload;
      "user:offline": OfflinePayload;
    };
  };
  "presence:global": {
    join: { payload: RoomParams; reply: RoomJoined };
    in: {
      "status:update": { payload: StatusUpdate; reply: StatusUpdate };
      "status:custom": { payload: CustomStatusUpdate; reply: CustomStatus };
      "status:clear_custom": { payload: Empty; reply: Empty };
      "activity:typing": { payload: Activity; reply: Empty };
      "activity:viewing": { payload: Activity; reply: Empty };
      "presence:get": { payload: PresenceGet; reply: PresenceGot };
    };
    out: {
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
      "user:status:changed": StatusPayload;
      "user:custom_status:changed": CustomStatusPayload;
      "user:offline": OfflinePayload;
    };
  };
  "presence:lobby": {
    join: { payload: RoomParams; reply: RoomJoined };
    in: {
      "status:update": { payload: StatusUpdate; reply: StatusUpdate };
      "status:custom": { payload: CustomStatusUpdate; reply: CustomStatus };
      "status:clear_custom": { payload: Empty; reply: Empty };
      "activity:typing": { payload: Activity; reply: Empty };
      "activity:viewing": { payload: Activity; reply: Empty };
      "presence:get": { payload: PresenceGet; reply: PresenceGot };
    };
    out: {
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
      "user:status:changed": StatusPayload;
      "user:custom_status:changed": CustomStatusPayload;
      "user:offline": OfflinePayload;
    };
  };
  "presence:workspace:<id>": {
    join: { payload: RoomParams; reply: RoomJoined };
    in: {
      "status:update": { payload: StatusUpdate; reply: StatusUpdate };
      "status:custom": { payload: CustomStatusUpdate; reply: CustomStatus };
      "status:clear_custom": { payload: Empty; reply: Empty };
      "activity:typing": { payload: Activity; reply: Empty };
      "activity:viewing": { payload: Activity; reply: Empty };
      "presence:get": { payload: PresenceGet; reply: PresenceGot };
    };
    out: {
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
      "user:status:changed": StatusPayload;
      "user:custom_status:changed": CustomStatusPayload;
      "user:offline": OfflinePayload;
    };
  };
  "presence:<conversation_id>": {
    join: { payload: RoomParams; reply: RoomJoined };
    in: {
      "status:update": { payload: StatusUpdate; reply: StatusUpdate };
      "status:custom": { payload: CustomStatusUpdate; reply: CustomStatus };
      "status:clear_custom": { payload: Empty; reply: Empty };
      "activity:typing": { payload: Activity; reply: Empty };
      "activity:viewing": { payload: Activity; reply: Empty };
      "presence:get": { payload: PresenceGet; reply: PresenceGot };
    };
    out: {
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
      "user:status:changed": StatusPayload;
      "user:custom_status:changed": CustomStatusPayload;
      "user:offline": OfflinePayload;
    };
  };
  "broadcast:<name>": {
    join: { payload: BroadcastParams; reply: Empty };
    in: {
      "<any>": { payload: unknown; reply: Empty };
    };
    out: {
      "<any>": unknown;
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
    };
  };
}
