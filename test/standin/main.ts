import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { splitHostPort } from '../../src/core/index.ts';
import { hostAddress } from './bootstrap.ts';
import { startStandin } from './index.ts';

const USAGE = `usage: node test/standin/main.ts [options]
  --listen HOST:PORT     where to listen (0.0.0.0:6443)
  --data DIR             keys, tokens and objects (a new temporary directory)
  --token TOKEN          password of the cluster (standin)
  --advertise IP         address agents are told (this host's)
  --k3s-version VERSION  what to say the server is (v1.36.3+k3s1)
  --clock-ahead SECONDS  date the certificates so far in the future (0)`;

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '0.0.0.0:6443' },
    data: { type: 'string' },
    token: { type: 'string', default: 'standin' },
    advertise: { type: 'string' },
    'k3s-version': { type: 'string' },
    'clock-ahead': { type: 'string', default: '0' },
    help: { type: 'boolean', short: 'h' },
  },
});
const listen = splitHostPort(values.listen);
if (values.help || !listen) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}
const wild = listen.host === '0.0.0.0' || listen.host === '::';
const standin = await startStandin({
  listen,
  dataDir: values.data ?? mkdtempSync(join(tmpdir(), 'k3s-standin-')),
  token: values.token,
  advertise: values.advertise ?? (wild ? hostAddress() : listen.host),
  ...(values['k3s-version'] ? { version: values['k3s-version'] } : {}),
  clockOffsetMs: Number(values['clock-ahead']) * 1000,
  log: (message, fields) => console.error(message, fields ? JSON.stringify(fields) : ''),
});
console.log(
  `the stand-in server answers at ${standin.url}\nkubeconfig: ${standin.kubeconfigFile}\ntoken: ${standin.tokenFile}`,
);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => void standin.stop().then(() => process.exit(0)));
