import { createHash } from 'node:crypto';

const MASK = '********';
/** Names whose value must not reach the Node object (k3s pkg/nodeconfig/nodeconfig.go), and their one-dash spellings. */
const SECRET_NAMES = new Set([
  'K3S_TOKEN',
  'K3S_DATASTORE_ENDPOINT',
  'K3S_AGENT_TOKEN',
  'K3S_CLUSTER_SECRET',
  'K3S_VPN_AUTH',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  '--token',
  '-t',
  '--agent-token',
  '--datastore-endpoint',
  '--etcd-s3-access-key',
  '--etcd-s3-secret-key',
  '--vpn-auth',
  '-token',
  '--t',
  '-vpn-auth',
  '--cluster-secret',
  '-cluster-secret',
]);

export interface NodeMeta {
  /** Annotation k3s.io/node-args: a JSON list. */
  readonly nodeArgs: string;
  /** Annotation k3s.io/node-env: a JSON map. */
  readonly nodeEnv: string;
  /** Annotation k3s.io/node-config-hash. */
  readonly nodeConfigHash: string;
}

/**
 * The three annotations by which k3s shows how a node was started. `args` are those after config files were merged in,
 * beginning with `agent`. Byte for byte what the original writes (Go's JSON, keys sorted), because its hash is compared.
 */
export function describeStart(args: readonly string[], env: Readonly<Record<string, string | undefined>>): NodeMeta {
  const list: string[] = [];
  for (const arg of args) {
    const at = arg.startsWith('-') ? arg.indexOf('=') : -1;
    if (at < 0) list.push(arg);
    else list.push(arg.slice(0, at), arg.slice(at + 1));
  }
  for (let i = 0; i + 1 < list.length; i++) if (SECRET_NAMES.has(list[i]!)) list[i + 1] = MASK;
  const seen: Record<string, string> = {};
  for (const key of Object.keys(env).sort(byBytes))
    if (key.startsWith('K3S_') && env[key] !== undefined) seen[key] = SECRET_NAMES.has(key) ? MASK : env[key];
  const nodeArgs = goJson(list);
  const nodeEnv = goJson(seen);
  const hash = createHash('sha256')
    .update(nodeArgs + nodeEnv)
    .digest();
  return { nodeArgs, nodeEnv, nodeConfigHash: base32(hash) };
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Go's encoder escapes what could end a script tag or a line of JavaScript, and spells two controls in hex. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** RFC 4648 base32 with padding. */
function base32(bytes: Uint8Array): string {
  let bits = 0;
  let held = 0;
  let out = '';
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[(held >>> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  if (bits > 0) out += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[(held << (5 - bits)) & 31];
  return out.padEnd(Math.ceil(out.length / 8) * 8, '=');
}
