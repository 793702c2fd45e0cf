import { isGlobalUnicast } from '../core/index.ts';
import { readText, writeIfChanged } from '../host/index.ts';

/** The metadata address of clouds, which is link-local but forwards DNS. */
const METADATA = '169.254.169.254';
const FALLBACK = 'nameserver 8.8.8.8\nnameserver 2001:4860:4860::8888\n';

/** True if pods can use it: at least one name server, and each one reachable from another network namespace. */
export function isUsableResolvConf(text: string): boolean {
  const servers = [...text.matchAll(/^nameserver\s+(\S*)/gm)].map((m) => m[1]!);
  return servers.length > 0 && servers.every((s) => isGlobalUnicast(s) || s === METADATA);
}

/**
 * The resolv.conf that pods inherit: `given`, else the first usable one of the host, else a written one that names
 * public servers (k3s pkg/agent/config locateOrGenerateResolvConf). `generated` says that it came to that.
 */
export async function chooseResolvConf(
  given: string | undefined,
  ownFile: string,
  candidates: readonly string[] = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'],
): Promise<{ path: string; generated: boolean }> {
  if (given !== undefined && given !== '') return { path: given, generated: false };
  for (const path of candidates) {
    const text = await readText(path).catch(() => undefined);
    if (text !== undefined && isUsableResolvConf(text)) return { path, generated: false };
  }
  await writeIfChanged(ownFile, FALLBACK, 0o644);
  return { path: ownFile, generated: true };
}
