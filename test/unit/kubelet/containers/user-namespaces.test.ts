import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Exec } from '../../../../src/host/index.ts';
import { subordinateIds } from '../../../../src/kubelet/containers/subordinate-ids.ts';
import { createUserNamespaces } from '../../../../src/kubelet/containers/user-namespaces.ts';

describe('ids of pods with their own users', () => {
  let dir: string;
  let count = 0;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kat-userns-'));
  });
  after(() => rm(dir, { recursive: true }));
  const make = async (range?: { first: number; length: number }) => {
    const root = join(dir, String(count++));
    await mkdir(root);
    const again = (more: { first: number; length: number } | undefined = range) =>
      createUserNamespaces({
        podDir: (uid) => join(root, uid),
        podsOnDisk: () => readdir(root),
        ...(more && { range: async () => more }),
      });
    return { root, users: again(), again };
  };

  it('are a range each, the same after a restart, in a file upstream reads', async () => {
    const { root, users, again } = await make();
    const [a, b] = await Promise.all([users.forPod('a'), users.forPod('b')]);
    assert.deepEqual(a, { hostId: 65_536, containerId: 0, length: 65_536 });
    assert.equal(b.hostId, 131_072);
    assert.deepEqual(JSON.parse(await readFile(join(root, 'a/userns'), 'utf8')), {
      uidMappings: [a],
      gidMappings: [a],
    });
    const later = again();
    const c = await later.forPod('c');
    assert.ok(![a.hostId, b.hostId].includes(c.hostId), 'ranges of before the restart are taken');
    assert.deepEqual(await later.forPod('a'), a);
  });

  it('are given back, and run out', async () => {
    const { users, root } = await make({ first: 65_536, length: 2 * 65_536 });
    await users.forPod('a');
    await users.forPod('b');
    await assert.rejects(users.forPod('c'), {
      message: 'create user namespace: could not find an empty slot to allocate a user namespace',
    });
    await rm(join(root, 'a'), { recursive: true });
    users.release('a');
    assert.equal((await users.forPod('c')).hostId, 65_536);
  });

  it('a broken file is its own pod’s fault', async () => {
    const { root, users } = await make();
    const mapping = { hostId: 65_536, containerId: 0, length: 65_536 };
    const files = {
      text: 'no json',
      two: JSON.stringify({ uidMappings: [mapping, mapping], gidMappings: [mapping] }),
      other: JSON.stringify({ uidMappings: [mapping], gidMappings: [{ ...mapping, hostId: 131_072 }] }),
      odd: JSON.stringify({ uidMappings: [{ ...mapping, hostId: 7 }], gidMappings: [{ ...mapping, hostId: 7 }] }),
      root: JSON.stringify({ uidMappings: [{ ...mapping, hostId: 0 }], gidMappings: [{ ...mapping, hostId: 0 }] }),
    };
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(root, name));
      await writeFile(join(root, name, 'userns'), text);
    }
    await users.forPod('good');
    await assert.rejects(users.forPod('text'), /^Error: user namespace: invalid user namespace mappings file/);
    await assert.rejects(users.forPod('two'), /no more than one mapping allowed/);
    await assert.rejects(users.forPod('other'), /GID and UID mapping should be identical/);
    await assert.rejects(users.forPod('odd'), /wrong user namespace offset specified 7/);
    await assert.rejects(users.forPod('root'), /id 0 is out of range/);
  });

  it('never hold the host’s own users', async () => {
    const { users } = await make({ first: 0, length: 65_536 });
    await assert.rejects(users.forPod('a'), /must be greater or equal to 65536/);
  });

  it('come from the subordinate ids of the user kubelet, if there is one', async () => {
    const passwd = join(dir, 'passwd');
    const exec = (uids: string, gids = uids): Exec =>
      ({
        run: async (argv: string[]) => ({ stdout: argv.includes('-g') ? gids : uids, stderr: '' }),
      }) as unknown as Exec;
    await writeFile(passwd, 'root:x:0:0::/:/bin/sh\n');
    assert.equal(await subordinateIds(exec('never asked'), passwd), undefined);
    await writeFile(passwd, 'kubelet:x:900:900::/:/bin/false\n');
    assert.deepEqual(await subordinateIds(exec('0: kubelet 65536 7208960\n'), passwd), {
      first: 65_536,
      length: 7_208_960,
    });
    await assert.rejects(
      subordinateIds(exec('0: kubelet 1 2', '0: kubelet 1 3'), passwd),
      /mismatched subuids and subgids/,
    );
    await assert.rejects(subordinateIds(exec('nonsense'), passwd), /invalid line "nonsense"/);
  });
});
