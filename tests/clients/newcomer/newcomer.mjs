// A first client of TeamTalk Route in Node.js: an embedded server and two played MsgServers, all started here.
// TEST_BIN_DIR has the programs, TEST_PROTO_DIR the .proto files. Needs @grpc/grpc-js and @grpc/proto-loader, which are
// looked for beside this file and in NODE_PATH.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const require = createRequire(import.meta.url);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = createRequire(require.resolve("@grpc/proto-loader"))("protobufjs");

const { TEST_BIN_DIR: BIN, TEST_PROTO_DIR: PROTO } = process.env;
const MIB = 1 << 20;

const options = { keepCase: true, enums: String, longs: String, defaults: true, oneofs: true, includeDirs: [PROTO] };
const files = ["presence", "broadcast", "server"].map((name) => `teamtalk/route/v1/${name}.proto`);
const v1 = grpc.loadPackageDefinition(loader.loadSync(files, options)).teamtalk.route.v1;

const legacyRoot = new protobuf.Root();
legacyRoot.resolvePath = (_, name) => join(PROTO, "legacy", name);
legacyRoot.loadSync(["IM.Server.proto", "IM.Buddy.proto", "IM.Message.proto"], { keepCase: true });
const legacy = (name) => legacyRoot.lookupType(`IM.${name}`);

// google.rpc comes with no package that is needed here: what is read of error details.
const rpc = protobuf.parse(`
  syntax = "proto3"; package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
`, { keepCase: true }).root;

const ONLINE = 1, OFFLINE = 2, LEAVE = 3, WINDOWS = 0x01, ANDROID = 0x12;
const HEARTBEAT = 0x0701, CLAIM = 0x0707, LIST = 0x0708, UPDATE = 0x070a, KICK = 0x070d;
const QUERY = 0x020a, ANSWER = 0x020b, CHAT = 0x0301;
const short = (status) => status.replace("PRESENCE_STATUS_", "");
const CHATS = [{ kinds: ["EVENT_KIND_CHAT_MESSAGE"] }];

/** What one part of the program hands another, which waits for it. */
class Inbox {
  items = [];
  wake = () => {};

  put(item) {
    this.items.push(item);
    this.wake();
  }

  async take() {
    while (!this.items.length) await new Promise((resolve) => (this.wake = resolve));
    return this.items.shift();
  }
}

/** A gateway with the node in it. Its log, one JSON object a line, tells its ports. */
class Server extends Inbox {
  static async start(grpcAddress = "127.0.0.1:0") {
    const server = new Server();
    const flags = `--embedded --grpc-listen ${grpcAddress} --listen 127.0.0.1:0=msg-1 --listen 127.0.0.1:0=msg-2
      --probe-listen 127.0.0.1:0 --max-pdu-bytes 8MiB --pdu-limit 8MiB --log-format json`;
    server.process = spawn(join(BIN, "pdu-gateway"), flags.split(/\s+/), { stdio: ["ignore", "pipe", "inherit"] });
    process.on("exit", () => server.process.kill("SIGKILL"));
    createInterface({ input: server.process.stdout }).on("line", (line) => server.put(JSON.parse(line)));
    server.probes = (await server.logs("probe port")).address;
    server.grpc = (await server.logs("gRPC port")).address;
    const listeners = [await server.logs("listening for MsgServers"), await server.logs("listening for MsgServers")];
    server.pdu = Object.fromEntries(listeners.map((line) => [line.msg_server, line.address])); // in any order
    return server;
  }

  async logs(message) {
    let line;
    while ((line = await this.take()).message !== message);
    return line;
  }
}

/** A MsgServer, as docs/legacy-protocol.md has it. It takes what it reads, but heartbeats. */
class MsgServer extends Inbox {
  constructor(address, users) {
    super();
    const [host, port] = address.split(":");
    this.socket = createConnection(Number(port), host);
    let unread = Buffer.alloc(0);
    this.socket.on("data", (data) => {
      unread = Buffer.concat([unread, data]);
      while (unread.length >= 16 && unread.length >= unread.readUInt32BE(0)) {
        const pdu = unread.subarray(0, unread.readUInt32BE(0));
        unread = unread.subarray(pdu.length);
        if (pdu.readUInt16BE(10) !== HEARTBEAT) this.put(pdu);
      }
    });
    const beat = setInterval(() => this.send(HEARTBEAT), 4000);
    this.socket.on("error", () => {}).on("close", () => clearInterval(beat));
    this.send(CLAIM, legacy("Server.IMRoleSet"), { master: 1 });
    const user_stat_list = users.map(([user_id, client_type, status]) => ({ user_id, client_type, status }));
    this.send(LIST, legacy("Server.IMOnlineUserInfo"), { user_stat_list });
  }

  send(command, type, fields) {
    const body = type ? type.encode(type.create(fields)).finish() : Buffer.alloc(0);
    const header = Buffer.alloc(16);
    header.writeUInt32BE(16 + body.length, 0);
    [1, 0, command >> 8, command, 0, 0].forEach((value, i) => header.writeUInt16BE(value, 4 + 2 * i));
    const pdu = Buffer.concat([header, body]);
    this.socket.write(pdu);
    return pdu;
  }

  update(user_id, user_status) {
    this.send(UPDATE, legacy("Server.IMUserStatusUpdate"), { user_status, user_id, client_type: WINDOWS });
  }

  chat(from_user_id, to_session_id, msg_id, text) {
    const create_time = Math.floor(Date.now() / 1000);
    const fields = { from_user_id, to_session_id, msg_id, create_time, msg_type: 1, msg_data: Buffer.from(text) };
    return this.send(CHAT, legacy("Message.IMMsgData"), fields);
  }

  /** The next PDU with this command. Others are passed over. */
  async expect(command) {
    let pdu;
    while ((pdu = await this.take()).readUInt16BE(10) !== command);
    return pdu;
  }

  async expectChat() {
    return legacy("Message.IMMsgData").decode((await this.expect(CHAT)).subarray(16));
  }

  /** Asks for the legacy status of users. The answer comes when all that was sent before it counts. */
  async query(...user_id_list) {
    this.send(QUERY, legacy("Buddy.IMUsersStatReq"), { user_id: user_id_list[0], user_id_list });
    const answer = legacy("Buddy.IMUsersStatRsp").decode((await this.expect(ANSWER)).subarray(16));
    return answer.user_stat_list.map(({ user_id, status }) => [user_id, status]);
  }
}

/** Reads a stream. Remembers the last position, to resume there. */
class Reader extends Inbox {
  constructor(call) {
    super();
    Object.assign(this, { call, position: "" });
    call.on("data", (response) => this.put(response)).on("error", (error) => this.put(error));
    call.on("end", () => this.put(new Error("the stream has ended")));
  }

  /** The next message but watermarks, which has to be of one of these kinds. */
  async next(...kinds) {
    let response, kind;
    do {
      response = await this.take();
      if (response instanceof Error) throw response;
      this.position = response.position || this.position;
      kind = response.message;
    } while (!kind || kind === "watermark"); // without a kind: of a version that is newer than this program
    assert(kinds.includes(kind), `${kinds} expected, not ${kind}`);
    return { kind, ...response[kind] };
  }

  async snapshot(scope) {
    assert.equal((await this.next("snapshot_begin")).scope, `SNAPSHOT_SCOPE_${scope}`);
    const found = [];
    for (let users; (users = (await this.next("snapshot", "snapshot_end")).users); ) found.push(...users);
    return Object.fromEntries(found.map(({ user_id, status }) => [user_id, short(status)]));
  }

  async change() {
    const { user } = await this.next("change");
    return [user.user_id, short(user.status)];
  }

  async messagesUpTo(last) {
    const seen = [];
    while (seen.at(-1) !== last) seen.push((await this.next("event")).chat_message.message_id);
    return seen;
  }
}

class Api {
  constructor(address, channelOptions) {
    const channel = [address, grpc.credentials.createInsecure(), channelOptions];
    this.presence = new v1.PresenceService(...channel);
    this.broadcast = new v1.BroadcastService(...channel);
    this.server = new v1.ServerService(...channel);
  }

  call(service, method, request) {
    return promisify(this[service][method].bind(this[service]))(request);
  }

  subscribe(request) {
    return new Reader(this.broadcast.Subscribe({ filters: CHATS, ...request }));
  }

  watch(request) {
    return new Reader(this.presence.WatchUserStatus(request));
  }
}

/** What google.rpc says of an error: its reason, and the fields that are wrong. */
function details(error) {
  const [encoded] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const found = {};
  for (const { type_url, value } of encoded ? rpc.lookupType("Status").decode(encoded).details : []) {
    const name = type_url.replace("type.googleapis.com/google.rpc.", "");
    found[name] = rpc.lookup(name)?.decode(value);
  }
  const fields = found.BadRequest?.field_violations.map(({ field }) => field) ?? [];
  return { code: grpc.status[error.code], reason: found.ErrorInfo?.reason, fields };
}

async function fails(promise) {
  const error = await promise.then(() => assert.fail("no error"), (error) => error);
  console.log(`    ${error.message.slice(0, 230)}`);
  return details(error);
}

async function queries(api) {
  const one = await api.call("presence", "GetUserStatus", { user_id: 1, include_sessions: true });
  assert.deepEqual([short(one.user.status), one.user.sessions[0].msg_server], ["ONLINE", "msg-1"]);
  const user_ids = [102, 3, 9999, 1, 3];
  const batch = await api.call("presence", "BatchGetUserStatus", { user_ids, at_least_position: one.position });
  const answers = batch.users.map(({ user_id, status }) => [user_id, short(status)]);
  assert.deepEqual(answers, [[102, "AWAY"], [3, "ONLINE"], [9999, "OFFLINE"], [1, "ONLINE"], [3, "ONLINE"]]);
  const listed = [];
  let page = {};
  do {
    page = await api.call("presence", "ListOnlineUsers", { page_size: 10, page_token: page.next_page_token });
    listed.push(...page.users.map((user) => user.user_id));
  } while (page.next_page_token);
  assert.deepEqual(listed, [...Array.from({ length: 25 }, (_, i) => i + 1), 101, 102, 103]);
  assert.deepEqual((await api.call("presence", "CountOnlineUsers", {})).all, { online_count: 27, away_count: 1 });
}

/** The watched set changes: in a stream, and then without streaming requests. Returns the last position. */
async function watch(api, msgServer) {
  const call = api.presence.WatchUserSet();
  const both = new Reader(call);
  call.write({ start: { user_ids: [1, 2] } });
  assert.deepEqual(await both.snapshot("ALL"), { 1: "ONLINE", 2: "ONLINE" });
  call.write({ change_set: { number: 1, add_user_ids: [3], remove_user_ids: [2] } });
  assert.deepEqual(await both.next("set_changed"), { kind: "set_changed", number: 1, user_count: 2 });
  assert.deepEqual(await both.snapshot("ADDED"), { 3: "ONLINE" });
  for (const user of [2, 3, 1]) msgServer.update(user, LEAVE);
  assert.deepEqual([await both.change(), await both.change()], [[3, "AWAY"], [1, "AWAY"]]);
  call.cancel();
  msgServer.update(1, ONLINE); // while nobody watches
  await msgServer.query(1);
  const one = api.watch({ user_ids: [1, 3], new_user_ids: [4], resume_position: both.position });
  await one.next("resumed");
  assert.deepEqual(await one.change(), [1, "ONLINE"]);
  assert.deepEqual(await one.snapshot("ADDED"), { 4: "ONLINE" });
  msgServer.update(4, LEAVE);
  assert.deepEqual(await one.change(), [4, "AWAY"]);
  one.call.cancel();
  return one.position;
}

/** A message of 5 MB: default limits see all but the content, who asks for more has it whole. */
async function bigMessage(api, address, sender, receiver) {
  assert.equal((await api.call("server", "GetServerInfo", {})).limits.max_pdu_bytes, 8 * MIB);
  const usual = api.subscribe({});
  const roomy = new Api(address, { "grpc.max_receive_message_length": 17 * MIB });
  const large = roomy.subscribe({ max_event_bytes: 16 * MIB });
  await Promise.all([usual.next("subscribed"), large.next("subscribed")]);
  const content = randomBytes(5_000_000);
  const pdu = sender.chat(1, 101, 1, content);
  sender.chat(1, 101, 2, "short");
  assert(pdu.equals(await receiver.expect(CHAT)));
  const event = await usual.next("event");
  assert.deepEqual(event.omitted, [{ field: "chat_message.content", size_bytes: content.length }]);
  assert.deepEqual([event.chat_message.message_id, event.chat_message.content.length], [1, 0]);
  assert.deepEqual(await usual.messagesUpTo(2), [2]);
  assert(content.equals((await large.next("event")).chat_message.content));
  return usual;
}

/** The server is killed. Whoever resumes is told that something may be missing, and gets what comes after. */
async function crash(api, reader, watched, server) {
  const [first] = server.msgServers;
  first.chat(1, 101, 3, "before the client goes away");
  assert.deepEqual(await reader.messagesUpTo(3), [3]);
  reader.call.cancel();
  first.chat(1, 101, 4, "while the client is away");
  reader = api.subscribe({ resume_position: reader.position });
  await reader.next("resumed");
  assert.deepEqual(await reader.messagesUpTo(4), [4], "missed nothing, nothing twice");

  server.process.kill("SIGKILL");
  await once(server.process, "exit");
  assert.equal(details(await reader.next("draining").catch((error) => error)).code, "UNAVAILABLE");
  server = await Server.start(server.grpc);
  await connect(server); // before the reader is back
  server.msgServers[0].chat(1, 101, 5, "while the client is away");
  let resumed, gap;
  do {
    await sleep(200); // the library takes a while to connect again, and says UNAVAILABLE until then
    resumed = api.subscribe({ resume_position: reader.position });
    gap = await resumed.next("gap").catch((error) => assert.equal(details(error).code, "UNAVAILABLE"));
  } while (!gap);
  assert.deepEqual([gap.reason, gap.missed_count], ["GAP_REASON_EPOCH_CHANGED", "0"]);
  assert.deepEqual(await resumed.messagesUpTo(5), [5], "what the new life of the node has seen, once");
  console.log("    resumed: missed an unknown number, for the server was restarted; after the gap came 5");

  const strict = api.subscribe({ resume_position: reader.position, on_gap: "GAP_POLICY_FAIL" });
  assert.equal((await fails(strict.next())).reason, "EPOCH_CHANGED");
  const watcher = api.watch({ user_ids: [1, 3, 4], resume_position: watched });
  assert.equal((await watcher.next("gap")).reason, "GAP_REASON_EPOCH_CHANGED");
  assert.deepEqual(await watcher.snapshot("ALL"), { 1: "ONLINE", 3: "ONLINE", 4: "ONLINE" });
  return [server, resumed];
}

async function publish(api, reader, [first, second]) {
  const content = Buffer.from("nnZSBwfPCz60q69ddmfIJA==");
  const message_type = "MESSAGE_TYPE_SINGLE_TEXT";
  const event = { chat_message: { from_user_id: 7777, to_id: 101, message_id: 6, message_type, content } };
  const plan = await api.call("broadcast", "ExplainPublish", { event });
  assert.deepEqual(plan.targets.map((target) => [target.msg_server, target.user_ids]), [["msg-2", [101]]]);
  const request = { request_id: "newcomer-1", event, acknowledgement: "ACKNOWLEDGEMENT_TAKEN" };
  const answer = await api.call("broadcast", "Publish", request);
  assert.deepEqual([answer.link_count, answer.duplicate, answer.outcome.taken_gateway_count], [1, false, 1]);
  assert.equal((await api.call("broadcast", "Publish", request)).duplicate, true);
  assert.equal((await second.expectChat()).msg_id, 5);
  const got = await second.expectChat();
  assert.deepEqual([got.from_user_id, got.msg_id, String(got.msg_data)], [7777, 6, String(content)]);
  assert.deepEqual(await reader.messagesUpTo(6), [6]);

  const kick = { user_id: 102, client_type: "CLIENT_TYPE_ANDROID", reason: "KICK_REASON_MOBILE_KICK" };
  const { responses } = await api.call("broadcast", "BatchPublish", { requests: [{ event: { kick } }] });
  assert.equal(responses[0].link_count, 2, "all MsgServers get kicks");
  for (const msgServer of [first, second]) {
    const kicked = legacy("Server.IMServerKickUser").decode((await msgServer.expect(KICK)).subarray(16));
    assert.deepEqual({ ...kicked }, { user_id: 102, client_type: ANDROID, reason: 2 });
  }
  assert.deepEqual(await second.query(101, 102), [[101, ONLINE], [102, OFFLINE]]);
  assert.equal(second.items.length, 0, "the same request again, and the dry run, send nothing");
  event.chat_message.content = Buffer.from("something else");
  assert.equal((await fails(api.call("broadcast", "Publish", request))).reason, "REQUEST_ID_REUSED");
}

async function mistakes(api, server) {
  for (const wrong of [server.pdu["msg-1"], server.probes].map((address) => new Api(address))) {
    const { code, reason } = await fails(wrong.call("presence", "GetUserStatus", { user_id: 1 }));
    assert.deepEqual([code, reason], ["UNAVAILABLE", "WRONG_PORT"]);
  }
  const chat_message = { from_user_id: 1, to_id: 2, message_type: 1 };
  const kick = { user_id: 1, client_type: 1 };
  for (const [service, method, request, field] of [
    ["presence", "GetUserStatus", {}, "user_id"],
    ["presence", "ListOnlineUsers", { page_token: "x" }, "page_token"],
    ["broadcast", "Publish", {}, "event.body"],
    ["broadcast", "Publish", { event: { chat_message } }, "event.chat_message.message_id"],
    ["broadcast", "BatchPublish", { requests: [{ event: { kick } }] }, "requests[0].event.kick.reason"],
  ]) {
    const expected = { code: "INVALID_ARGUMENT", reason: "FIELD_INVALID", fields: [field] };
    assert.deepEqual(await fails(api.call(service, method, request)), expected);
  }
  assert.deepEqual((await fails(api.watch({}).next())).fields, ["user_ids"]);
  assert.deepEqual((await fails(api.subscribe({ filters: [{ kinds: [99] }] }).next())).fields, ["filters[0].kinds"]);
  const { user } = await api.call("presence", "GetUserStatus", { user_id: 4294967295 });
  assert.equal(short(user.status), "OFFLINE", "an unknown id is no error");
}

async function connect(server) {
  const users = Array.from({ length: 25 }, (_, i) => [i + 1, WINDOWS, ONLINE]);
  const others = [[101, WINDOWS, ONLINE], [102, ANDROID, LEAVE], [103, WINDOWS, ONLINE]];
  server.msgServers = [new MsgServer(server.pdu["msg-1"], users), new MsgServer(server.pdu["msg-2"], others)];
  assert.deepEqual(await server.msgServers[0].query(25, 9999), [[25, ONLINE], [9999, OFFLINE]]);
  assert.deepEqual(await server.msgServers[1].query(103), [[103, ONLINE]]);
}

const begin = Date.now();
const say = (what) => console.log(`${((Date.now() - begin) / 1000).toFixed(1).padStart(5)} s ${what}`);

const step = (part, ...parameters) => part(...parameters, say(part.name));

setTimeout(() => assert.fail("it takes too long"), 55_000);
process.once("SIGTERM", () => process.exit(1));
let server = await Server.start();
await connect(server);
const api = new Api(server.grpc);
await step(queries, api);
const watched = await step(watch, api, server.msgServers[0]);
let reader = await step(bigMessage, api, server.grpc, ...server.msgServers);
[server, reader] = await step(crash, api, reader, watched, server);
await step(publish, api, reader, server.msgServers);
await step(mistakes, api, server);
say("passed");
process.exit(0);
