import { existsSync, readdirSync, readFileSync } from 'node:fs';

/**
 * Everything a lab makes on the machine (network namespaces, links, cgroups, folders) begins with `kal` and the id of
 * the process that made it, so that a later run finds what a crashed one left.
 */
const PREFIX = 'kal';
let labs = 0;

/** A prefix of at most 9 characters: link names may have 15. */
export function labPrefix(): string {
  return `${PREFIX}${process.pid.toString(36)}${(labs++).toString(36)}`;
}

/** The prefix in a name, if its maker no longer runs. */
export function abandonedPrefix(name: string): string | undefined {
  const m = /^(kal([0-9a-z]+)[0-9a-z])-/.exec(name);
  if (!m) return undefined;
  const pid = Number.parseInt(m[2] as string, 36);
  return pid > 0 && !isNode(pid) ? m[1] : undefined;
}

/** A pid may have been given to something else since: only a Node process can be a lab's. */
function isNode(pid: number): boolean {
  const path = `/proc/${pid}/comm`;
  if (!existsSync(path)) return false;
  return /node|MainThread/.test(readFileSync(path, 'utf8'));
}

/** Names of the network namespaces that ip(8) keeps. */
export function namedNamespaces(): string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns') : [];
}
