import { createHash } from 'node:crypto';
import type { Exec } from './exec.ts';

export interface NftTable {
  family: 'ip' | 'ip6' | 'inet';
  name: string;
  /** What stands between the table's braces, in nft syntax; undefined: the table must not exist. */
  body: string | undefined;
}

/** Keeps whole own tables; a change replaces the table in one transaction, so there is no moment without rules. */
export interface Nft {
  /** True if it wrote. nft prints rules in another form than it reads, so what it printed after a write is compared. */
  ensure(table: NftTable, signal?: AbortSignal): Promise<boolean>;
}

export function createNft(exec: Exec): Nft {
  const written = new Map<string, { body: string; printed: string }>();
  return {
    async ensure({ family, name, body }, signal) {
      const id = `${family} ${name}`;
      const options = signal ? { signal } : {};
      const print = async () => {
        const { code, stdout } = await exec.run(['nft', 'list', 'table', family, name], { ...options, okCodes: [1] });
        return code === 0 ? createHash('sha256').update(stdout).digest('base64') : '';
      };
      const memory = written.get(id);
      if (memory !== undefined && memory.body === (body ?? '') && memory.printed === (await print())) return false;
      // "add" first, so that the deletion also succeeds when there is no such table.
      const input = `add table ${id}\ndelete table ${id}\n${body === undefined ? '' : `table ${id} {\n${body}\n}\n`}`;
      await exec.run(['nft', '-f', '-'], { ...options, input });
      written.set(id, { body: body ?? '', printed: await print() });
      return true;
    },
  };
}
