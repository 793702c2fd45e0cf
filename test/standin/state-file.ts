import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Snapshot } from './storage.ts';

/** The objects of a stopped server. It holds secrets: for its owner only. */
export function loadState(path: string): Snapshot | undefined {
  if (!existsSync(path)) return undefined;
  return JSON.parse(readFileSync(path, 'utf8')) as Snapshot;
}

export function saveState(path: string, snapshot: Snapshot): void {
  const next = `${path}.next`;
  rmSync(next, { force: true });
  writeFileSync(next, JSON.stringify(snapshot), { mode: 0o600 });
  renameSync(next, path);
}
