// Put a Signal event, or an array of them, on the queue from Node.js, with nothing but Node:
// `node enqueue.mjs redis://127.0.0.1:6379/0 < event.json`
//
// The message is Celery's own (protocol 2, JSON); docs/producers.md tells each field. With the `redis` package from npm, `push`
// is `await client.lPush(queue, message(event, queue))`, or for many events `await client.lPush(queue, bundle(events, queue))`.
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

export const message = (event, queue) => celery("signal.deliver", event.messageId ?? randomUUID(), event, event.type, queue);

// At most 100 events and 256 KiB; each is delivered, or refused, on its own.
export const bundle = (events, queue) => celery("signal.deliver_many", randomUUID(), events, `${events.length} events`, queue);

function celery(task, id, argument, argsrepr, queue) {
  const body = [[argument], {}, { callbacks: null, errbacks: null, chain: null, chord: null }];
  return JSON.stringify({
    body: Buffer.from(JSON.stringify(body)).toString("base64"),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    headers: { lang: "js", task, id, signal: { enqueued_at: Date.now() / 1000, events: [argument].flat().length }, argsrepr },
    properties: { body_encoding: "base64", delivery_tag: id, delivery_info: { exchange: "", routing_key: queue } },
  });
}

function bundles(events, queue, most = 100) {
  return events.length ? [bundle(events.slice(0, most), queue), ...bundles(events.slice(most), queue)] : [];
}

function command(...words) {
  return `*${words.length}\r\n` + words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
}

export function push(url, queue, ...messages) {
  const { hostname, port, password, username, pathname } = new URL(url);
  const socket = connect(Number(port || 6379), hostname);
  const login = password ? [["AUTH", ...(username ? [decodeURIComponent(username)] : []), decodeURIComponent(password)]] : [];
  const commands = [...login, ["SELECT", pathname.slice(1) || "0"], ["LPUSH", queue, ...messages]];
  socket.write(commands.map((words) => command(...words)).join(""));
  return new Promise((resolve, reject) => {
    let replies = "";
    socket.setEncoding("utf8").on("error", reject).on("data", (data) => {
      replies += data;
      const lines = replies.split("\r\n").slice(0, -1);
      const refused = lines.find((line) => line.startsWith("-"));
      if (refused) reject(new Error(refused.slice(1)));
      if (refused || lines.length === commands.length) socket.end();
      if (lines.length === commands.length) resolve(Number(lines.at(-1).slice(1)));
    });
  });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [url = "redis://127.0.0.1:6379/0", queue = "mailgun.default"] = process.argv.slice(2);
  const given = JSON.parse(await text(process.stdin));
  const messages = Array.isArray(given) ? bundles(given, queue) : [message(given, queue)];
  push(url, queue, ...messages).then(
    () => console.log(`enqueued on ${queue}`),
    (error) => { console.error(`not enqueued: ${error.message || error.code}`); process.exitCode = 1; },
  );
}
