import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * wire.ts INTERFACE SECONDS: prints how much passes an interface, link headers included. One JSON line:
 * {interface, received, sent, total}, bytes a minute. Looks in the network namespace it is run in.
 */
const [name, seconds] = process.argv.slice(2);
if (!name || !(Number(seconds) > 0)) fail('usage: wire.ts INTERFACE SECONDS');

const before = counters();
const started = performance.now();
await sleep(Number(seconds) * 1000);
const after = counters();
const perMinute = 60_000 / (performance.now() - started);
const [received, sent] = [after.received - before.received, after.sent - before.sent].map((n) =>
  Math.round(n * perMinute),
) as [number, number];
console.log(JSON.stringify({ interface: name, received, sent, total: received + sent }));

function counters(): { received: number; sent: number } {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .map((each) => each.trim())
    .find((each) => each.startsWith(`${name}:`));
  if (line === undefined) fail(`there is no interface ${name}`);
  const numbers = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  return { received: numbers[0] as number, sent: numbers[8] as number };
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
