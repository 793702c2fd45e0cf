import { type Exec, readText } from '../../host/index.ts';

/**
 * The host ids that may be given to pods with their own user namespace: those of the user `kubelet` in /etc/subuid and
 * /etc/subgid, which must be the same; undefined if there is no such user or no getsubids(1) to ask
 * (kubelet getKubeletMappings).
 */
export async function subordinateIds(
  exec: Exec,
  passwd = '/etc/passwd',
): Promise<{ first: number; length: number } | undefined> {
  const users = (await readText(passwd)) ?? '';
  if (!users.split('\n').some((line) => line.startsWith('kubelet:'))) return undefined;
  const uids = await exec.run(['getsubids', 'kubelet']).catch(() => undefined);
  const gids = await exec.run(['getsubids', '-g', 'kubelet']).catch(() => undefined);
  if (uids === undefined || gids === undefined) return undefined;
  if (uids.stdout !== gids.stdout) throw new Error('mismatched subuids and subgids for user "kubelet"');
  const lines = uids.stdout.trim().split('\n');
  if (lines.length !== 1) throw new Error(`error parsing line "${uids.stdout}": it must contain only one line`);
  // `0: kubelet 65536 7208960`
  const fields = (lines[0] as string).trim().split(/\s+/);
  if (fields.length !== 4 || !/^\d+$/.test(fields[2] as string) || !/^\d+$/.test(fields[3] as string))
    throw new Error(`invalid line "${lines[0]}"`);
  return { first: Number(fields[2]), length: Number(fields[3]) };
}
