// A notice instead of the webmail while it is maintained.
//
// The clock is read last, and only where it decides: what read it is not remembered, and asked anew for each request.
// So for another host, for an address that may pass, and for a window without times the answer is remembered.

import clock from "doorward:policy/clock@0.1.1";
import connection from "doorward:policy/connection@0.1.1";
import request from "doorward:policy/request@0.1.1";

const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "maintenance-window",
  type: "object",
  properties: {
    windows: {
      type: "array",
      items: {
        type: "object",
        properties: {
          from: { description: "RFC 3339, or seconds since 1970; without it the window is open already.", $ref: "#/$defs/time" },
          until: { description: "Likewise; without it the window stays open.", $ref: "#/$defs/time" },
          hosts: {
            description: "Virtual hosts; *.example.com is each below example.com. Without it, all.",
            type: "array", minItems: 1, items: { type: "string", minLength: 1 },
          },
          title: { type: "string", minLength: 1, maxLength: 200, default: "Maintenance" },
          text: { type: "string", maxLength: 10000 },
          "retry-after": { description: "Seconds, for a window without until.", type: "integer", minimum: 1, maximum: 86400, default: 300 },
        },
        additionalProperties: false,
      },
    },
    pass: { description: "Networks and addresses that see the webmail all the same.", type: "array", items: { type: "string" } },
  },
  required: ["windows"],
  additionalProperties: false,
  $defs: { time: { type: ["string", "integer"] } },
};

const TEXT = "We are working on your webmail. Your messages are safe, and new ones still arrive. Please try again later.";

let windows = [];
let passing = [];

// ---- Settings

const kind = (value) =>
  value === null || value === undefined ? "nothing" : Array.isArray(value) ? "a list" :
  { string: `"${String(value).slice(0, 64)}"`, number: String(value), boolean: String(value), object: "a table" }[typeof value];

const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Seconds since 1970 of a time as it is written, or null. Its offset must be there: the proxy has no time zone. */
function seconds(value) {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  const parts = typeof value === "string" &&
    /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/.exec(value);
  if (!parts) return null;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number);
  const [offsetHour, offsetMinute] = [Number(parts[8] ?? 0), Number(parts[9] ?? 0)];
  const days = [31, year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days[month - 1]) return null;
  if (hour > 23 || minute > 59 || second > 60 || offsetHour > 23 || offsetMinute > 59) return null;
  const offset = (offsetHour * 60 + offsetMinute) * 60 * (parts[7] === "-" ? -1 : 1);
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - offset;
}

/** Bytes of an address, 4 or 16; null if it is none. One of IPv4 that is written as IPv6 is one of IPv4. */
function addressBytes(text) {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four) {
    const bytes = four.slice(1).map(Number);
    return bytes.every((byte, i) => byte < 256 && String(byte) === four[i + 1]) ? bytes : null;
  }
  const tail = /^(.*:)(\d[\d.]*)$/.exec(text);
  if (tail && tail[2].includes(".")) {
    const last = addressBytes(tail[2]);
    if (last?.length !== 4) return null;
    text = tail[1] + ((last[0] << 8) | last[1]).toString(16) + ":" + ((last[2] << 8) | last[3]).toString(16);
  }
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - groups.flat().length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = halves.length === 1 ? groups[0] : [...groups[0], ...Array(missing).fill("0"), ...groups[1]];
  if (!all.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return null;
  const bytes = all.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]);
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.slice(12) : bytes;
}

/** A network or an address as bytes and bits; null if it is none. */
function network(text) {
  const [, address, length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = address === undefined ? null : addressBytes(address);
  const bits = bytes && (length === undefined ? bytes.length * 8 : Number(length));
  return bytes && bits <= bytes.length * 8 ? { bytes, bits } : null;
}

function holds({ bytes, bits }, address) {
  if (address.length !== bytes.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false;
  const mask = 0xff00 >> (bits & 7) & 0xff;
  return (bits & 7) === 0 || (bytes[whole] & mask) === (address[whole] & mask);
}

function readWindow(window, path, wrong) {
  const of = (key) => `${path}.${key}`;
  const time = (key) => {
    const found = window[key] === undefined ? undefined : seconds(window[key]);
    if (found === null) wrong(of(key), kind(window[key]), "a time with its offset (2026-05-01T22:00:00+02:00), or seconds since 1970");
    return found ?? undefined;
  };
  const text = (key, most, otherwise) => {
    const value = window[key] ?? otherwise;
    if (typeof value !== "string" || value.length > most || (value === "" && key === "title")) {
      wrong(of(key), kind(value), `a text of at most ${most} characters`);
    }
    return String(value);
  };
  for (const key of Object.keys(window)) {
    if (!Object.hasOwn(SCHEMA.properties.windows.items.properties, key)) wrong(of(key), "an unknown key", "from, until, hosts, title, text or retry-after");
  }
  const [from, until] = [time("from"), time("until")];
  if (from !== undefined && until !== undefined && until <= from) wrong(of("until"), kind(window.until), "a time after from");
  const hosts = window.hosts;
  if (hosts !== undefined && !(Array.isArray(hosts) && hosts.length > 0)) wrong(of("hosts"), kind(hosts), "a list with host names, or no key");
  const names = Array.isArray(hosts) ? hosts : [];
  names.forEach((name, i) => {
    const fits = typeof name === "string" && /^(\*\.)?[^\s*./:]+(\.[^\s*./:]+)*$/.test(name);
    if (!fits) wrong(`${of("hosts")}[${i}]`, kind(name), "a host name without port, or *. and one");
  });
  const retryAfter = window["retry-after"] ?? 300;
  if (!Number.isInteger(retryAfter) || retryAfter < 1 || retryAfter > 86400) wrong(of("retry-after"), kind(retryAfter), "seconds from 1 to 86400");
  const lower = names.map((name) => String(name).toLowerCase());
  const notice = makeNotice(text("title", 200, "Maintenance"), text("text", 10000, TEXT));
  return { from, until, hosts: hosts && lower, retryAfter, ...notice };
}

function readSettings(given) {
  const problems = [];
  const wrong = (path, found, expected) => problems.push({ path, message: `found ${found}, expected ${expected}` });
  if (!isTable(given)) throw [{ path: "", message: `found ${kind(given)}, expected a table` }];
  for (const key of Object.keys(given)) if (!Object.hasOwn(SCHEMA.properties, key)) wrong(key, "an unknown key", "windows or pass");
  if (!Array.isArray(given.windows)) wrong("windows", kind(given.windows), "a list of tables");
  const read = (Array.isArray(given.windows) ? given.windows : []).map((window, i) => {
    if (isTable(window)) return readWindow(window, `windows[${i}]`, wrong);
    wrong(`windows[${i}]`, kind(window), "a table");
  });
  const pass = given.pass ?? [];
  if (!Array.isArray(pass)) wrong("pass", kind(pass), "a list of networks");
  const networks = (Array.isArray(pass) ? pass : []).map((text, i) => {
    const found = typeof text === "string" ? network(text) : null;
    if (!found) wrong(`pass[${i}]`, kind(text), "a network (192.0.2.0/24, 2001:db8::/32) or an address");
    return found;
  });
  if (problems.length > 0) throw problems;
  return [read, networks];
}

// ---- The notice: made once, when the settings are taken

const escaped = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

function makeNotice(title, text) {
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => `<p>${escaped(paragraph.trim())}</p>`).join("\n");
  const page = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escaped(title)}</title>
<style>
:root { color-scheme: light dark }
body { font: 1.125rem/1.6 system-ui, sans-serif; margin: 0; padding: 2rem }
main { max-width: 36rem; margin: 10vh auto; overflow-wrap: anywhere }
h1 { font-size: 1.75rem; line-height: 1.25 }
</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
${paragraphs}
</main>
</body>
</html>
`;
  return { page, json: JSON.stringify({ error: "maintenance", title, text }) };
}

// ---- The decision

const atHost = (window, host) =>
  !window.hosts ||
  window.hosts.some((name) => (name.startsWith("*.") ? host.length > name.length - 1 && host.endsWith(name.slice(1)) : host === name));

/** Whether a script asks, which can do nothing with a page. */
function isScript() {
  const destination = request.header("sec-fetch-dest");
  if (destination) return !["document", "iframe", "frame"].includes(destination);
  const accept = request.header("accept") ?? "";
  return /\bapplication\/([\w.-]+\+)?json\b/.test(accept) && !accept.includes("text/html");
}

function notice(window, now) {
  const left = window.until === undefined ? window.retryAfter : window.until - now;
  const script = isScript();
  const headers = [
    { name: "content-type", value: script ? "application/json" : "text/html; charset=utf-8" },
    { name: "cache-control", value: "no-store" },
    { name: "retry-after", value: String(left) },
  ];
  if (!script) headers.push({ name: "content-security-policy", value: "default-src 'none'; style-src 'unsafe-inline'" });
  return { tag: "answer", val: { status: 503, headers, body: script ? window.json : window.page } };
}

export const settings = {
  schema: () => JSON.stringify(SCHEMA),
  configure(text) {
    let given;
    try {
      given = JSON.parse(text);
    } catch {
      throw [{ path: "", message: "found something that is no JSON, expected a table" }];
    }
    [windows, passing] = readSettings(given);
  },
};

export const filter = {
  decide() {
    const pass = { tag: "pass" };
    if (windows.length === 0) return pass;
    const host = windows.every((window) => !window.hosts) ? "" : request.host();
    const here = windows.filter((window) => atHost(window, host));
    if (here.length === 0) return pass;
    if (passing.length > 0) {
      const client = addressBytes(connection.clientAddress());
      if (client && passing.some((one) => holds(one, client))) return pass;
    }
    const always = here.find((window) => window.from === undefined && window.until === undefined);
    if (always) return notice(always, 0);
    const now = clock.now();
    const open = here.find((window) => (window.from ?? 0) <= now && now < (window.until ?? Infinity));
    return open ? notice(open, now) : pass;
  },
};
