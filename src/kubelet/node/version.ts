/** The newest Kubernetes whose Pod API this agent implements. */
const IMPLEMENTED_VERSION = 'v1.36.3+k3s1';

/** Major, minor and patch of `v1.36.3+k3s1`; undefined if the text is no version. */
export function parseVersion(text: string): [number, number, number] | undefined {
  const m = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text);
  return m ? [Number(m[1]), Number(m[2]), Number(m[3])] : undefined;
}

/**
 * What the Node reports: the implemented version, but never a newer one than the server's, since Kubernetes' version
 * skew policy (and the tools that check it) allow a kubelet to be older than its API server only.
 */
export function kubeletVersion(serverVersion: string, implemented: string = IMPLEMENTED_VERSION): string {
  const server = parseVersion(serverVersion);
  const own = parseVersion(implemented);
  if (server === undefined || own === undefined) return implemented;
  for (let i = 0; i < 3; i++)
    if (server[i] !== own[i]) return (server[i] as number) < (own[i] as number) ? serverVersion : implemented;
  return serverVersion;
}
