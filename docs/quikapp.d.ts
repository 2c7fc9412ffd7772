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
  | "device_not_found"
  | "not_found"
  | "method_not_allowed"
  | "idempotency_conflict"
  | "version_mismatch"
  | "max_devices_reached"
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

/** The reply to `message:ack`: the next batch, where the join said that there is more. */
export type Acked = {
  /** What was acknowledged. */
  seq: number;
  /** The next entries of the gap; the same ones, if the same is acknowledged again. */
  gap?: Array<GapEntry>;
  /** There is still more: it comes once the last entry that was sent so far is acknowledged. */
  more?: boolean;
};

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

/** What happened to a conversation. */
export type Change = "members_added" | "member_removed" | "role_changed" | "renamed";

/** Join params. */
export type ChatJoin = {
  /**
  * The last place the client has; everything after it is replayed. Without it, and with a
  * `device_id` here or on the socket, the device's cursor counts.
  */
  last_seq?: number;
  /** Which device this is, where the socket does not say so; never another than the socket's. */
  device_id?: string;
  /** The version of the registers that the client has; those that changed since are returned. */
  registers_version?: number;
  /** How presence is shown. */
  mode?: PresenceMode;
};

/** The reply to a join. */
export type ChatJoined = {
  /** Which conversation. */
  conversation_id: string;
  /** The last place of the log. Live entries follow the last of `gap`, or this. */
  last_seq: number;
  /** Registers beside the log. */
  registers: RegistersState;
  /** How many members there are. */
  member_count: number;
  /** The first 100 of them, by user id. */
  members: Array<MemberPayload>;
  /** What was missed, oldest first; at most 100 entries. */
  gap?: Array<GapEntry>;
  /**
  * There is more: it comes with the reply to `message:ack` of the last entry of `gap`, and
  * live entries wait until then.
  */
  more?: boolean;
  /**
  * What was missed cannot be replayed, or the device named no place and none is known of it;
  * because it is new or was forgotten: fetch the history instead.
  */
  reset_required?: boolean;
};

/** What a person chose to be. */
export type ChosenStatus = "online" | "away" | "busy" | "dnd" | "invisible";

/** `conversation:mute` */
export type ConversationMute = {
  /** Until then; for ever without. A time that has passed ends the mute. */
  until?: string | null;
  /** Mentions come through. */
  mentions_only?: boolean;
  /** `false` ends the mute. */
  muted?: boolean;
};

/** `typing:start`, `typing:stop`, `conversation:join`, `conversation:leave` */
export type ConversationNamed = {
  /** The topic's own conversation, if it is named at all. */
  conversation_id?: string;
};

/** A conversation, as its members see it. */
export type ConversationPayload = {
  /** Its id. */
  id: string;
  /** Direct or group. */
  type: "direct" | "group";
  /** The group's name. */
  name: string | null;
  /** Who made it. */
  created_by: string;
  /** When. */
  created_at: string;
};

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

/** A day of the week. */
export type Day = "mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun";

/** Some days of the week: on the wire their names, each once, from Monday on. */
export type Days = Array<"mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun">;

/** `message:deleted`. */
export type DeletePayload = {
  /** Which message. */
  message_id: string;
  /** Where. */
  conversation_id: string;
  /** By whom; `null` when nobody deleted it. */
  deleted_by: string | null;
  /** When. */
  deleted_at: string;
  /**
  * `expired` when its time was up, `erased` when its sender was erased; absent when somebody
  * deleted it.
  */
  reason?: Gone;
};

/** One device that a person is connected with. */
export type DeviceSeen = {
  /** Its id, if it has one. */
  device_id: string | null;
  /** Since when. */
  online_at: string;
};

/** `devices:changed` */
export type DevicesPayload = {
  /** The devices that the person is connected with, one item each. */
  devices: Array<DeviceSeen>;
};

/** `draft:changed`, on one's own topic. */
export type DraftPayload = {
  /** Where. */
  conversation_id: string;
  /** The draft `{text, reply_to, updated_at}`, or nothing. */
  draft: { text: string; reply_to: string | null; updated_at: string } | null;
};

/** `draft:set` */
export type DraftSet = {
  /** The text; nothing clears the draft. */
  text: string | null;
  /** The message it will answer. */
  reply_to?: string;
};

/** `message:edited`. */
export type EditPayload = {
  /** The message's id. */
  id: string;
  /** The same, under the name that all events about a message share. */
  message_id: string;
  /** Where. */
  conversation_id: string;
  /** The new text; `null` once the message was deleted. */
  content: string | null;
  /** Always true. */
  is_edited: boolean;
  /** When. */
  edited_at: string;
  /** By whom. */
  edited_by: string;
};

/**
* `message:forgotten`: the server no longer has the content of a message of class
* `until_delivered`. Devices keep what they have.
*/
export type ForgetPayload = {
  /** Which message. */
  message_id: string;
  /** Where. */
  conversation_id: string;
  /** `delivered` when it is on every device, `expired` when its time was up before. */
  reason: Gone;
  /** When. */
  at: string;
};

/** An entry that is replayed: what was broadcast, with its place. */
export type GapEntry = {
  /** Its place in the conversation's log. */
  seq: number;
  /** Its conversation, in the stream over all of them. */
  conversation_id?: string;
  /** The event. */
  event: string;
  /** Its payload. */
  payload: unknown;
};

/** Why something is gone although nobody deleted it. */
export type Gone = "expired" | "delivered" | "erased";

/** `message:hidden`, an entry of one's own conversation: one has deleted a message for oneself. */
export type HiddenPayload = {
  /** Which message. */
  message_id: string;
  /** Where. */
  conversation_id: string;
  /** When. */
  hidden_at: string;
};

/** A page of history, in ascending order. */
export type HistoryPage = {
  /** The messages, with edits, reactions, pins and deletions folded in. */
  messages: (MessagePayload & { seq: number })[];
  /** Whether there is more in the direction of the page. */
  has_more: boolean;
  /** Where one stands in the thread that was asked for, if one follows it. */
  thread?: ThreadPayload;
};

/** `conversation:invite`, on the topic of a person whom somebody made a member of a group. */
export type InvitePayload = {
  /** Which conversation. */
  conversation_id: string;
  /** What it is. */
  conversation: ConversationPayload;
  /** By whom. */
  invited_by: string;
  /** When. */
  invited_at: string;
};

/** Where a member stands. */
export type MarkState = {
  /** Who. */
  user_id: string;
  /** Everything up to here has reached a device. */
  delivered: number;
  /** Everything up to here was read. */
  read: number;
  /** From where it was marked unread; only one's own. */
  unread_from?: number;
};

/** A member and their role. */
export type MemberPayload = {
  /** Who. */
  user_id: string;
  /** As what. */
  role: "member" | "admin" | "owner";
};

/** `message:ack` */
export type MessageAck = {
  /** The device has everything up to here. */
  seq: number;
};

/** How long a message is kept. */
export type MessageClass = "persistent" | "until_delivered" | "ephemeral";

/** `message:delete` */
export type MessageDelete = {
  /** Which message. */
  message_id: string;
  /** For whom. */
  scope?: Scope;
};

/** `message:edit` */
export type MessageEdit = {
  /** Which message. */
  message_id: string;
  /** The new text. */
  content: string;
};

/** `message:history` */
export type MessageHistory = {
  /** The newest below this place. */
  before_seq?: number;
  /** The oldest above this place. */
  after_seq?: number;
  /** At most so many, 1 to 100; 50 without. */
  limit?: number;
  /** Of this thread; of the main timeline without. */
  thread_root?: string;
};

/** `message:pin`, `message:unpin` */
export type MessageNamed = {
  /** Which message. */
  message_id: string;
};

/**
* A message: the payload of `message:new` and the items of a history, where edits, reactions,
* pins and a deletion have been folded in.
*/
export type MessagePayload = {
  /** The message's id. */
  id: string;
  /** Where it was sent. */
  conversation_id: string;
  /** By whom. */
  sender_id: string;
  /** The client's idempotency key. */
  client_id: string | null;
  /** text, image, video, audio, file, call or system. */
  type: string;
  /** The text or caption. */
  content: string | null;
  /** Attachments as the client described them. */
  attachments: unknown[];
  /** The message it answers. */
  reply_to: string | null;
  /** The thread it belongs to. */
  thread_root: string | null;
  /** Whether it was forwarded. */
  is_forwarded: boolean;
  /** From where. */
  forwarded_from: string | null;
  /** Who is mentioned. */
  mentions: string[];
  /** Sent without a push. */
  silent: boolean;
  /** Opaque end-to-end encrypted content. */
  envelope: unknown;
  /** How long it is kept; absent of what is kept for good. */
  class?: MessageClass;
  /** Seconds after which its content disappears. */
  ttl?: number;
  /** When its content disappears. */
  expires_at?: string;
  /** When it was sent. */
  created_at: string;
  /** When it was last edited or deleted. */
  updated_at: string;
  /** Whether its content was replaced. */
  is_edited: boolean;
  /** When it was last edited. */
  edited_at?: string;
  /** By whom it was last edited. */
  edited_by?: string;
  /** The places of its edits in the log. */
  edits?: Array<number>;
  /** Who reacted with what. */
  reactions?: Record<string, string[]>;
  /** Who pinned it. */
  pinned_by?: string;
  /** When it was pinned. */
  pinned_at?: string;
  /** Who deleted it; its content is gone then. */
  deleted_by?: string;
  /** When it was deleted, or its content disappeared. */
  deleted_at?: string;
  /** Why its content is gone although nobody deleted it. */
  deleted_reason?: Gone;
};

/** `message:delivered`, `message:read`, `message:unread`: a place, or the message there. */
export type MessagePlace = {
  /** For `message:read`: only this thread was read up to there, not the main timeline. */
  thread_root?: string;
  /** The message. */
  message_id?: string;
  /** Its place. */
  seq?: number;
};

/** `message:reaction:add`, `message:reaction:remove` */
export type MessageReaction = {
  /** To which message. */
  message_id: string;
  /** Which; at most 64 bytes. */
  emoji: string;
};

/** `message:send` */
export type MessageSend = {
  /**
  * The idempotency key: the same key with the same content is the same message. At most 128
  * bytes, best a UUIDv7 (it costs the server least); where
  * `conversation.limits.client_id_horizon` is set, a UUIDv7 that is not older.
  */
  client_id?: string;
  /** text (the default), image, video, audio, file, call or system. */
  type?: string;
  /** The text, or a caption. */
  content?: string;
  /** Objects that describe what is attached. */
  attachments?: unknown[];
  /** The message it answers. */
  reply_to?: string;
  /** The thread it belongs to. */
  thread_root?: string;
  /** Whether it was forwarded. */
  is_forwarded?: boolean;
  /** From where. */
  forwarded_from?: string;
  /** Who is mentioned. */
  mentions?: string[];
  /**
  * After so many seconds the message disappears: from 5 s to 90 days, unless configured
  * otherwise.
  */
  ttl?: number;
  /** Send it then: at most 365 days ahead, unless configured otherwise. */
  send_at?: string;
  /** `persistent` (the default), `until_delivered` or `ephemeral`. */
  class?: MessageClass;
  /** Send without a push. */
  silent?: boolean;
  /** Opaque end-to-end encrypted content. */
  envelope?: unknown;
};

/** `mute:changed`, on one's own topic. */
export type MutePayload = {
  /** Where. */
  conversation_id: string;
  /** The mute, or nothing. */
  mute: { until: string | null; mentions_only: boolean } | null;
};

/** `conversation:new`, on the topic of a person who has become a member. */
export type NewConversationPayload = {
  /** Which conversation. */
  conversation_id: string;
  /** What it is. */
  conversation: ConversationPayload;
};

/** What a notification is about. */
export type NotificationKind = "mention";

/**
* `notification`, on the topic of the person whom it is for. It names a message and does not
* repeat it, so that nothing is left of one that is deleted.
*/
export type NotificationPayload = {
  /** What it is about. */
  type: NotificationKind;
  /** In which conversation. */
  conversation_id: string;
  /** Which message. */
  message_id: string;
  /** Its place. */
  message_seq: number;
  /** Who caused it. */
  from: string;
  /** When. */
  created_at: string;
};

/** Of what a person is told. What is urgent is told in any case. */
export type Notify = "all" | "direct_and_mentions" | "nothing";

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

/** `message:pinned` and `message:unpinned`. */
export type PinPayload = {
  /** Which message. */
  message_id: string;
  /** Where. */
  conversation_id: string;
  /** By whom. */
  user_id: string;
  /** When. */
  at: string;
};

/** The reply to `message:ack {conversation_id, seq}`. */
export type PlaceAcked = {
  /** Where. */
  conversation_id: string;
  /** Up to where. */
  seq: number;
};

/** What every entry of a conversation's log carries besides its own members. */
export type Placed = {
  /** Its place in the conversation's log: dense, from 1. */
  seq: number;
  /** The place of the message that it is about. */
  message_seq?: number;
};

/** What it runs on. */
export type Platform = "ios" | "android" | "web" | "desktop" | "other";

/** What a person prefers. What is not said is the default. */
export type Preferences = {
  /** Of what they are told, where a conversation's mute does not decide. */
  notify: Notify;
  /**
  * Whether they are told of replies in threads. Of those that mention them they are in any
  * case.
  */
  threads: boolean;
  /** What a push may show. */
  previews: Previews;
  /** When they are not to be disturbed. */
  quiet_hours: QuietHours | null;
  /** Their language: a BCP 47 tag of at most 35 characters. */
  locale: string | null;
  /**
  * What clients keep of their own settings, opaque to the server: at most 4 KiB of JSON, at
  * most 32 levels deep.
  */
  app: Record<string, unknown> | null;
};

/**
* Preferences, or a JSON merge patch of them (RFC 7396): what a patch leaves out stays as it is,
* and null restores the default. Names may be in camelCase, except within `app`.
*/
export type PreferencesPatch = {
  /**
  * Of what one is told, where a conversation's mute does not decide: `all` unless said
  * otherwise, `direct_and_mentions` or `nothing`. What is urgent is told in any case.
  */
  notify?: Notify | null;
  /**
  * Whether one is told of replies in threads (the default). Of those that mention one, one is
  * in any case.
  */
  threads?: boolean | null;
  /** What a push may show: `full` (the default), `sender` or `none`. */
  previews?: Previews | null;
  /** When one is not to be disturbed. */
  quiet_hours?: QuietHoursPatch | null;
  /** A BCP 47 tag of at most 35 characters. */
  locale?: string | null;
  /** What clients keep of their own settings: at most 4 KiB of JSON, at most 32 levels deep. */
  app?: Record<string, unknown> | null;
};

/** `preferences:changed`, and what a request about preferences is answered with. */
export type PreferencesPayload = {
  /** Counts the changes: 0 as long as there was none. */
  version: number;
  /** All of them, defaults included. */
  preferences: Preferences;
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

/** What a push may show. */
export type Previews = "full" | "sender" | "none";

/** `profile:sync`: one's own profile, as it is now. */
export type ProfilePayload = {
  /** Oneself. */
  user_id: string;
  /** How one is called. */
  name: string | null;
  /** Whether everyone may see when one was last here. */
  last_seen_public: boolean;
};

/**
* When a person is not to be disturbed: from a time of the day until the next time that it is
* another, in their time zone; a whole day where both are the same.
*
* The clock on the wall counts. When it is set back, a period goes on for as long as the clock
* shows, or will show once more, a time within it; when it is set forward over an end of the
* period, the period ends or begins at that moment.
*/
export type QuietHours = {
  /** When they begin: `"22:00"`. */
  from: TimeOfDay;
  /** When they end: `"07:00"`, on the next day where that is not after `from`. */
  to: TimeOfDay;
  /** The days on which they begin. */
  days: Days;
  /** A name of the IANA time zone database: `"Europe/Berlin"`. */
  time_zone: string;
};

/** From a time of the day until the next time that it is another. */
export type QuietHoursPatch = {
  /** `"22:00"`. */
  from?: string | null;
  /** `"07:00"`, on the next day where that is not after `from`. */
  to?: string | null;
  /** The days on which they begin, `mon` to `sun`; all of them unless said otherwise. */
  days?: Array<Day> | null;
  /** A name of the IANA time zone database: `"Europe/Berlin"`. */
  time_zone?: string | null;
};

/** `message:reaction:added` and `message:reaction:removed`. */
export type ReactionPayload = {
  /** To which message. */
  message_id: string;
  /** Whose reaction. */
  user_id: string;
  /** Which; empty in the log of a person who was erased, and then all of theirs are gone. */
  emoji: string;
  /** Where. */
  conversation_id: string;
};

/**
* `message:delivered` and `message:read`: everything up to `seq` has reached a device, or was
* read.
*/
export type ReceiptPayload = {
  /** The message that was named, if one was. */
  message_id: string | null;
  /** Up to where. */
  seq: number;
  /** Whose receipt. Absent in large conversations, where only a count is told. */
  user_id?: string;
  /** On which device. */
  device_id?: string;
  /**
  * In large conversations: how many people's receipts moved at once. Whoever moves again
  * later is counted again: the sum over receipts is not how many people there are.
  */
  count?: number;
  /** Where. */
  conversation_id: string;
  /** When, of a delivery. */
  delivered_at?: string;
  /** When, of reading. */
  read_at?: string;
};

/** A device that its person has registered. */
export type RegisteredDevice = {
  /** As its sockets name it. */
  device_id: string;
  /** What it runs on. */
  platform: Platform;
  /** What its person calls it. */
  name?: string;
  /** Of the application. */
  app_version?: string;
  /** Of the operating system, or the browser. */
  os_version?: string;
  /** As its maker calls it. */
  model?: string;
  /** Since when it is in the list. */
  registered_at: string;
  /** When something of it changed, or, at most once a day, it said that it is in use. */
  updated_at: string;
};

/**
* `devices:registered`, an entry of one's own conversation: the devices that one has registered,
* all of them.
*/
export type RegisteredPayload = {
  /** Counts the changes, from 1. */
  version: number;
  /** In the order in which they were registered; at most 10. */
  devices: Array<RegisteredDevice>;
};

/** The registers that a joining client is told. */
export type RegistersState = {
  /** The version to name at the next join. */
  version: number;
  /**
  * Whose marks changed since the version named. In large conversations (of more than 100
  * members, unless configured otherwise) only one's own.
  */
  marks: Array<MarkState>;
  /** One's own draft. */
  draft: { text: string; reply_to: string | null; updated_at: string } | null;
  /** One's own mute. */
  mute: { until: string | null; mentions_only: boolean } | null;
  /** Messages that one has not read. */
  unread: number;
  /**
  * Threads that one follows (by writing in them, by having begun them, or by being mentioned)
  * and has not read to the end; the most recent ones.
  */
  threads: Array<ThreadPayload>;
};

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

/** `scheduled:changed`, on one's own topic: a scheduled message came or went. */
export type ScheduledChanged = {
  /** Which. */
  id: string;
  /** Where. */
  conversation_id: string;
  /** What happened to it. */
  status: ScheduledStatus;
};

/**
* `message:scheduled:failed`, an entry of one's own conversation: a scheduled message could not
* be sent when its time came.
*/
export type ScheduledFailed = {
  /** Which. */
  id: string;
  /** Where it was to be sent. */
  conversation_id: string;
  /** The client's idempotency key. */
  client_id: string | null;
  /** The reason that sending it would have been refused with. */
  reason: string;
  /** What it said, so that it is not lost. */
  content: string | null;
  /** When it was to be sent. */
  send_at: string;
};

/** The reply to `message:scheduled:list`. */
export type ScheduledList = {
  /** One's own scheduled messages in the conversation, the earliest first. */
  scheduled: Array<ScheduledPayload>;
};

/** `message:scheduled:cancel` */
export type ScheduledNamed = {
  /** Which scheduled message. */
  id: string;
};

/** A message that is sent later. */
export type ScheduledPayload = {
  /** The id that the message will have; until then, what it is cancelled by. */
  id: string;
  /** Where it will be sent. */
  conversation_id: string;
  /** When. */
  send_at: string;
  /** The client's idempotency key. */
  client_id: string | null;
  /** text, image, video, audio, file, call or system. */
  type: string;
  /** The text or caption. */
  content: string | null;
  /** Attachments as the client described them. */
  attachments: unknown[] | null;
  /** The message it answers. */
  reply_to: string | null;
  /** The thread it belongs to. */
  thread_root: string | null;
  /** Who is mentioned. */
  mentions: string[];
  /** When it was written. */
  created_at: string;
};

/** What became of a scheduled message. */
export type ScheduledStatus = "scheduled" | "cancelled" | "sent" | "failed";

/** For whom a message is deleted. */
export type Scope = "everyone" | "me";

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

/** Where a person stands in a thread that they follow. */
export type ThreadPayload = {
  /** The message that the thread hangs on. */
  thread_root: string;
  /** Messages in it that are unread. What was sent before one joined, or joined again, is not. */
  unread: number;
  /** Up to where it was read. */
  read: number;
  /** Its newest message's place. */
  last_seq: number;
};

/** A time of the day to the minute: `"22:00"`, from `"00:00"` to `"23:59"`. */
export type TimeOfDay = string;

/** `typing:start` and `typing:stop` */
export type TypingPayload = {
  /** Where. */
  conversation_id: string;
  /** Who. */
  user_id: string;
  /** When. */
  timestamp: string;
};

/** `unread:changed`, on one's own topic. */
export type UnreadPayload = {
  /** Where. */
  conversation_id: string;
  /** Messages of the main timeline that are unread. */
  unread: number;
  /** Up to where was read. */
  read: number;
  /** From where it was marked unread. */
  unread_from: number | null;
  /** The thread that was read, if it was one. */
  thread?: ThreadPayload;
};

/** `conversation:updated`: members came or went, a role or the name changed. */
export type UpdatePayload = {
  /** Which conversation. */
  conversation_id: string;
  /** What happened. */
  change: Change;
  /** By whom. */
  user_id: string;
  /** When. */
  at: string;
  /**
  * The members whom it concerns: who was added or removed, whose role changed (to what). A
  * member who became owner because the last one left stands here too.
  */
  members?: Array<MemberPayload>;
  /** The name, if it was changed. */
  name?: string;
  /** `erased` when the membership ended because the person was erased. */
  reason?: Gone;
};

/** `message:ack`: the stream's cursor, or a place in one conversation. */
export type UserAck = {
  /** The device has everything up to here. */
  cursor?: string;
  /** The device has everything of this conversation ... */
  conversation_id?: string;
  /** ... up to here. */
  seq?: number;
};

/** The reply to `message:ack {cursor}`, and to `stream:cursor`. */
export type UserAcked = {
  /** Where the client stands once it has what is in `gap`. */
  cursor: string;
  /** The next entries, where there was more; the same ones, if the same is acknowledged again. */
  gap?: Array<GapEntry>;
  /** There is still more: it comes once the cursor that was sent last is acknowledged. */
  more?: boolean;
};

/** Join params. */
export type UserJoin = {
  /**
  * Where the client stands in the stream, as the server said; everything after it is
  * replayed. Without it, and with a `device_id` here or on the socket, the device's cursor
  * counts.
  */
  cursor?: string;
  /** Which device this is, where the socket does not say so; never another than the socket's. */
  device_id?: string;
};

/** The reply to a join. */
export type UserJoined = {
  /** Whose stream it is. */
  user_id: string;
  /** Where the client stands once it has what is in `gap`. */
  cursor: string;
  /**
  * What was missed, in every conversation in its order; at most 100 entries. Conversations
  * with a call or a system message come first.
  */
  gap?: Array<GapEntry>;
  /**
  * There is more: it comes with the reply to `message:ack` of `cursor`, and live entries wait
  * until then.
  */
  more?: boolean;
  /**
  * The cursor cannot be replayed from, because more than 10,000 entries or something older
  * than 168 hours lies behind it (unless configured otherwise), or because it was not issued
  * here; or the device named none and none is known of it, because it is new or was forgotten.
  * Fetch the conversations instead, and go on from `cursor`.
  */
  reset_required?: boolean;
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
  "chat:<conversation_id>": {
    join: { payload: ChatJoin; reply: ChatJoined };
    in: {
      "message:send": { payload: MessageSend; reply: MessagePayload & Placed | ScheduledPayload };
      "message:edit": { payload: MessageEdit; reply: EditPayload & Placed };
      "message:delete": { payload: MessageDelete; reply: DeletePayload & Placed | Empty };
      "message:reaction:add": { payload: MessageReaction; reply: ReactionPayload & Placed };
      "message:reaction:remove": { payload: MessageReaction; reply: ReactionPayload & Placed };
      "message:pin": { payload: MessageNamed; reply: PinPayload & Placed };
      "message:unpin": { payload: MessageNamed; reply: PinPayload & Placed };
      "message:scheduled:list": { payload: Empty; reply: ScheduledList };
      "message:scheduled:cancel": { payload: ScheduledNamed; reply: Empty };
      "message:history": { payload: MessageHistory; reply: HistoryPage };
      "message:ack": { payload: MessageAck; reply: Acked };
      "conversation:join": { payload: ConversationNamed; reply: Empty };
      "conversation:leave": { payload: ConversationNamed; reply: Empty };
      "typing:start": { payload: ConversationNamed; reply: Empty };
      "typing:stop": { payload: ConversationNamed; reply: Empty };
      "message:delivered": { payload: MessagePlace; reply: { seq: number } };
      "message:read": { payload: MessagePlace; reply: { seq: number } };
      "message:unread": { payload: MessagePlace; reply: { seq: number } };
      "draft:set": { payload: DraftSet; reply: Empty };
      "conversation:mute": { payload: ConversationMute; reply: Empty };
    };
    out: {
      "message:new": MessagePayload & Placed;
      "message:edited": EditPayload & Placed;
      "message:deleted": DeletePayload & Placed;
      "message:forgotten": ForgetPayload & Placed;
      "message:reaction:added": ReactionPayload & Placed;
      "message:reaction:removed": ReactionPayload & Placed;
      "message:pinned": PinPayload & Placed;
      "message:unpinned": PinPayload & Placed;
      "conversation:updated": UpdatePayload & Placed;
      "message:delivered": ReceiptPayload;
      "message:read": ReceiptPayload;
      "typing:start": TypingPayload;
      "typing:stop": TypingPayload;
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
    };
  };
  "conversation:<conversation_id>": {
    join: { payload: ChatJoin; reply: ChatJoined };
    in: {
      "message:send": { payload: MessageSend; reply: MessagePayload & Placed | ScheduledPayload };
      "message:edit": { payload: MessageEdit; reply: EditPayload & Placed };
      "message:delete": { payload: MessageDelete; reply: DeletePayload & Placed | Empty };
      "message:reaction:add": { payload: MessageReaction; reply: ReactionPayload & Placed };
      "message:reaction:remove": { payload: MessageReaction; reply: ReactionPayload & Placed };
      "message:pin": { payload: MessageNamed; reply: PinPayload & Placed };
      "message:unpin": { payload: MessageNamed; reply: PinPayload & Placed };
      "message:scheduled:list": { payload: Empty; reply: ScheduledList };
      "message:scheduled:cancel": { payload: ScheduledNamed; reply: Empty };
      "message:history": { payload: MessageHistory; reply: HistoryPage };
      "message:ack": { payload: MessageAck; reply: Acked };
      "conversation:join": { payload: ConversationNamed; reply: Empty };
      "conversation:leave": { payload: ConversationNamed; reply: Empty };
      "typing:start": { payload: ConversationNamed; reply: Empty };
      "typing:stop": { payload: ConversationNamed; reply: Empty };
      "message:delivered": { payload: MessagePlace; reply: { seq: number } };
      "message:read": { payload: MessagePlace; reply: { seq: number } };
      "message:unread": { payload: MessagePlace; reply: { seq: number } };
      "draft:set": { payload: DraftSet; reply: Empty };
      "conversation:mute": { payload: ConversationMute; reply: Empty };
    };
    out: {
      "message:new": MessagePayload & Placed;
      "message:edited": EditPayload & Placed;
      "message:deleted": DeletePayload & Placed;
      "message:forgotten": ForgetPayload & Placed;
      "message:reaction:added": ReactionPayload & Placed;
      "message:reaction:removed": ReactionPayload & Placed;
      "message:pinned": PinPayload & Placed;
      "message:unpinned": PinPayload & Placed;
      "conversation:updated": UpdatePayload & Placed;
      "message:delivered": ReceiptPayload;
      "message:read": ReceiptPayload;
      "typing:start": TypingPayload;
      "typing:stop": TypingPayload;
      "presence_state": Record<string, PresenceEntry>;
      "presence_diff": PresenceDiff;
      "presence_count": PresenceCount;
    };
  };
  "user:<user_id>": {
    join: { payload: UserJoin; reply: UserJoined };
    in: {
      "message:ack": { payload: UserAck; reply: UserAcked | PlaceAcked };
      "stream:cursor": { payload: Empty; reply: UserAcked };
      "preferences:set": { payload: PreferencesPatch; reply: PreferencesPayload };
    };
    out: {
      "message:new": MessagePayload & Placed;
      "message:edited": EditPayload & Placed;
      "message:deleted": DeletePayload & Placed;
      "message:forgotten": ForgetPayload & Placed;
      "message:reaction:added": ReactionPayload & Placed;
      "message:reaction:removed": ReactionPayload & Placed;
      "message:pinned": PinPayload & Placed;
      "message:unpinned": PinPayload & Placed;
      "conversation:new": NewConversationPayload & Placed;
      "conversation:updated": UpdatePayload & Placed;
      "conversation:invite": InvitePayload & Placed;
      "notification": NotificationPayload & Placed;
      "profile:sync": ProfilePayload & Placed;
      "preferences:changed": PreferencesPayload & Placed;
      "devices:changed": DevicesPayload;
      "devices:registered": RegisteredPayload & Placed;
      "scheduled:changed": ScheduledChanged;
      "message:scheduled:failed": ScheduledFailed & Placed;
      "message:hidden": HiddenPayload & Placed;
      "unread:changed": UnreadPayload;
      "draft:changed": DraftPayload;
      "mute:changed": MutePayload;
      "user:status:changed": StatusPayload;
      "user:custom_status:changed": CustomStatusPayload;
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
  "webrtc:<call_id>": {
    join: { payload: unknown; reply: never };
    in: {
    };
    out: {
    };
  };
  "call:<call_id>": {
    join: { payload: unknown; reply: never };
    in: {
    };
    out: {
    };
  };
  "huddle:<huddle_id>": {
    join: { payload: unknown; reply: never };
    in: {
    };
    out: {
    };
  };
}
