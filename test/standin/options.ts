/** How a stand-in server is set up. Everything has k3s's defaults. */
export interface StandinOptions {
  /** Address and port to listen on; port 0 takes a free one. */
  listen?: { host: string; port: number };
  /** Keys, tokens and, after a stop, the objects. A start with the same directory is the same server. */
  dataDir: string;
  /** Password of the cluster token. */
  token: string;
  /** A separate password for agents, as `--agent-token`. */
  agentToken?: string;
  /** The address agents are told; `listen.host` unless that is 0.0.0.0. */
  advertise?: string;
  /** What the server says it is. Below 1.22 the supervisor behaves as those did. */
  version?: string;
  clusterCidrs?: readonly string[];
  serviceCidr?: string;
  /** More fields, or other values, of `/v1-k3s/config`. */
  config?: Readonly<Record<string, unknown>>;
  egressSelectorMode?: 'agent' | 'cluster' | 'pod' | 'disabled';
  /** Time without a lease after which a Node is Unknown; 40 s (50 s in newest Kubernetes). */
  nodeGraceMs?: number;
  /** How far the server's clock is ahead: its certificates are not valid yet for everyone else. */
  clockOffsetMs?: number;
  /** Between watch bookmarks; 60 s. */
  bookmarkMs?: number;
  log?: (message: string, fields?: Record<string, unknown>) => void;
}

export type Settings = Required<StandinOptions> & { port: number; minor: number };

export function settingsOf(options: StandinOptions): Settings {
  const listen = options.listen ?? { host: '127.0.0.1', port: 0 };
  const version = options.version ?? 'v1.36.3+k3s1';
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1]);
  if (!Number.isInteger(minor)) throw new Error(`not a version such as v1.36.3+k3s1: ${version}`);
  return {
    listen,
    port: listen.port,
    dataDir: options.dataDir,
    token: options.token,
    agentToken: options.agentToken ?? options.token,
    advertise: options.advertise ?? (/^(0\.0\.0\.0|::)$/.test(listen.host) ? '127.0.0.1' : listen.host),
    version,
    minor,
    clusterCidrs: options.clusterCidrs ?? ['10.42.0.0/16'],
    serviceCidr: options.serviceCidr ?? '10.43.0.0/16',
    config: options.config ?? {},
    egressSelectorMode: options.egressSelectorMode ?? 'agent',
    nodeGraceMs: options.nodeGraceMs ?? (minor >= 32 ? 50_000 : 40_000),
    clockOffsetMs: options.clockOffsetMs ?? 0,
    bookmarkMs: options.bookmarkMs ?? 60_000,
    log: options.log ?? (() => {}),
  };
}
