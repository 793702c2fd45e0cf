import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { errorCode, nodeNameProblem, registerSecret } from '../core/index.ts';
import { ensureDir, readText, removeFile, writeFileAtomic } from '../host/index.ts';
import { JoinFailure } from './failure.ts';
import type { JoinPaths } from './paths.ts';

/**
 * The secret that binds this board to its node name, made on first use. It is written before anything is sent: a
 * password that the server knows and the board forgot locks the board out. For the same reason a file that is there but
 * empty or garbled is an error and never replaced. Throws JoinFailure `io`.
 */
export async function nodePassword(paths: JoinPaths, random: (n: number) => Buffer = randomBytes): Promise<string> {
  return guarded(paths.password, async () => {
    const text = await readText(paths.password);
    if (text !== undefined) return checked(text, paths.password);
    await ensureDir(paths.nodeDir, 0o755);
    const old = await readText(paths.oldPassword);
    if (old !== undefined) {
      const password = checked(old, paths.oldPassword);
      await writeFileAtomic(paths.password, `${password}\n`, 0o600);
      await removeFile(paths.oldPassword);
      return password;
    }
    const password = random(16).toString('hex');
    registerSecret(password);
    await writeFileAtomic(paths.password, `${password}\n`, 0o600);
    return password;
  });
}

function checked(text: string, path: string): string {
  const password = text.trim();
  registerSecret(password);
  if (/^[\x21-\x7e]{1,256}$/.test(password)) return password;
  throw new JoinFailure({
    step: 'io',
    message: `the node password file ${path} is ${password === '' ? 'empty' : 'damaged'}`,
    remedy: `put it back from a backup; or delete it here, and on the server the Node and its Secret kube-system/<node>.node-password.k3s`,
  });
}

/** The 8 hex digits that --with-node-id appends, made on first use. Throws JoinFailure `io`. */
export async function nodeId(paths: JoinPaths, random: (n: number) => Buffer = randomBytes): Promise<string> {
  return guarded(paths.nodeId, async () => {
    const text = (await readText(paths.nodeId))?.trim();
    if (text !== undefined) {
      if (/^[a-z0-9]{1,32}$/.test(text)) return text;
      throw new JoinFailure({
        step: 'io',
        message: `the node id file ${paths.nodeId} is damaged`,
        remedy: 'put it back from a backup, or delete it: the board then joins under a new name',
      });
    }
    const id = random(4).toString('hex');
    await ensureDir(paths.nodeDir, 0o755);
    await writeFileAtomic(paths.nodeId, `${id}\n`, 0o644);
    return id;
  });
}

/** The name to join under: --node-name or the host name, in lower case, with the id behind it if asked for. */
export async function nodeName(
  options: { nodeName: string | undefined; withNodeId: boolean; hostname?: string },
  paths: JoinPaths,
): Promise<string> {
  const base = (options.nodeName ?? options.hostname ?? hostname()).toLowerCase();
  const name = options.withNodeId ? `${base}-${await nodeId(paths)}` : base;
  const wrong = nodeNameProblem(name);
  if (wrong === undefined) return name;
  throw new JoinFailure({
    step: 'config',
    message: `"${name.slice(0, 80)}" can't be the name of a node: ${wrong.problem}`,
    remedy: `give another name with --node-name${wrong.suggestion ? `, for example ${wrong.suggestion}` : ''}`,
  });
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof JoinFailure || errorCode(cause) === undefined) throw cause;
    throw new JoinFailure({
      step: 'io',
      message: `${path} can't be used (${errorCode(cause)})`,
      remedy: 'check free space, rights and whether the disk is mounted read-only',
      cause,
    });
  }
}
