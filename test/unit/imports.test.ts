import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';

/**
 * The import table of ARCHITECTURE.md, held true. A room may import from the rooms listed, through their index.ts only;
 * type-only imports of `cri/types.ts` are open to the kubelet.
 */
const MAY: Readonly<Record<string, readonly string[]>> = {
  core: [],
  host: ['core'],
  config: ['core', 'host'],
  hardware: ['core', 'host'],
  kube: ['core'],
  join: ['core', 'host', 'config'],
  loadbalancer: ['core', 'host'],
  tunnel: ['core', 'kube'],
  grpc: ['core'],
  cri: ['core', 'host', 'grpc'],
  kubelet: ['core', 'host', 'kube', 'hardware', 'cri', 'grpc'],
  flannel: ['core', 'host', 'kube'],
  agent: ['core', 'host', 'config', 'hardware', 'kube', 'join', 'loadbalancer', 'tunnel', 'cri', 'kubelet', 'flannel'],
  main: ['agent', 'config', 'core', 'host'],
};

/** Packages and Node modules that only some rooms may touch. */
const ONLY_IN: Readonly<Record<string, readonly string[]>> = {
  'node:child_process': ['host', 'cri'],
  undici: ['kube'],
  ws: ['tunnel'],
  '@grpc/grpc-js': ['grpc'],
  pino: ['host'],
  yaml: ['config', 'cri'],
  systeminformation: ['hardware'],
};

const src = join(import.meta.dirname, '../../src');

interface Import {
  file: string;
  room: string;
  specifier: string;
  typeOnly: boolean;
}

function imports(): Import[] {
  const found: Import[] = [];
  for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath, entry.name);
    const file = relative(src, path);
    const room = file.includes('/') ? (file.split('/')[0] as string) : 'main';
    const text = readFileSync(path, 'utf8');
    for (const m of text.matchAll(/^\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'/gm))
      found.push({ file, room, specifier: m[2] as string, typeOnly: m[1] !== undefined });
    for (const m of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g))
      found.push({ file, room, specifier: m[1] as string, typeOnly: false });
  }
  return found;
}

test('every room imports only the rooms of the table, through their doors', () => {
  const wrong: string[] = [];
  for (const { file, room, specifier, typeOnly } of imports()) {
    if (!specifier.startsWith('.')) continue;
    const target = relative(src, join(src, dirname(file), specifier));
    const targetRoom = target.includes('/') ? (target.split('/')[0] as string) : 'main';
    if (targetRoom === room) continue;
    const door = target === `${targetRoom}/index.ts` || (target === 'cri/types.ts' && typeOnly);
    if (!MAY[room]?.includes(targetRoom)) wrong.push(`${file}: ${room} may not import ${targetRoom}`);
    else if (!door) wrong.push(`${file}: ${specifier} goes around the door of ${targetRoom}`);
    else if (room === 'kubelet' && targetRoom === 'cri' && !typeOnly) wrong.push(`${file}: only types of cri`);
  }
  assert.deepEqual(wrong, []);
});

test('packages that a room hides stay in that room', () => {
  const wrong = imports()
    .filter(({ room, specifier, typeOnly }) => !typeOnly && ONLY_IN[specifier] && !ONLY_IN[specifier].includes(room))
    .map(({ file, specifier }) => `${file}: ${specifier}`);
  assert.deepEqual(wrong, []);
});
