import { familyOf } from '../core/index.ts';
import type { Exec } from './exec.ts';

/**
 * Puts an address this host lost onto the loopback device for a moment, so that the kernel can still send from it (it
 * refuses a source address that is not local): the last word of TCP connections bound to it. The kernel itself takes
 * the address away after seconds, should the returned function never run. Throws what {@link Exec} throws.
 */
export async function borrowAddress(exec: Exec, address: string): Promise<() => Promise<void>> {
  const v6 = familyOf(address) === 6;
  const subject = [`${address}/${v6 ? 128 : 32}`, 'dev', 'lo'];
  const lifetime = ['valid_lft', '5', 'preferred_lft', '0', ...(v6 ? ['nodad'] : [])];
  await exec.run(['ip', 'address', 'add', ...subject, ...lifetime], { timeoutMs: 5_000 });
  return async () => {
    await exec.run(['ip', 'address', 'del', ...subject], { timeoutMs: 5_000 }).catch(() => {});
  };
}
