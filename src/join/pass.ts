import { type Clock, type Logger, registerSecret } from '../core/index.ts';
import { ensureDir, readBytes, readText, writeIfChanged, writeState } from '../host/index.ts';
import { type Anchor, findAnchor, systemTrusts } from './ca.ts';
import { caHash } from './ca-hash.ts';
import { type CertPair, keyFor, loadPair, requestPair, savePair, stillGood } from './cert-store.ts';
import { JoinFailure } from './failure.ts';
import { nodeName, nodePassword } from './node-identity.ts';
import { chooseNodeIps, type NetworkFacts, networkFacts, orderNodeIps } from './node-ips.ts';
import { type JoinPaths, kubeconfig } from './paths.ts';
import { chooseResolvConf } from './resolv-conf.ts';
import { checkFamilies, parseServerConfig, type ServerConfig } from './server-config.ts';
import { CERT_NAMES, type CertName, createSupervisor, type NodeIdentity, type Supervisor } from './supervisor.ts';
import { asNode, formatToken, parseToken, type Token } from './token.ts';
import type { Trust } from './transport.ts';

export interface PassOptions {
  /** `--server`, with which people know it. */
  readonly server: string;
  /** Where connections go: the local load balancer, or the server itself. */
  readonly dialUrl: string;
  readonly token: string | undefined;
  /** Read again at every try. */
  readonly tokenFile: string | undefined;
  readonly paths: JoinPaths;
  readonly nodeName: string | undefined;
  readonly withNodeId: boolean;
  readonly nodeIps: readonly string[];
  readonly nodeExternalIps: readonly string[];
  readonly flannelIface: string | undefined;
  readonly resolvConf: string | undefined;
  /** URL of the API server for the kubeconfig files, once its port is known. */
  readonly apiServerUrl: (config: ServerConfig) => string;
  readonly userAgent: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly facts?: () => Promise<NetworkFacts>;
  readonly hostname?: string;
}

export type ClientCertName = Exclude<CertName, 'serving-kubelet'>;
export type Certificates = Readonly<Record<ClientCertName, CertPair>>;

/** A node that the server has let in. PEM texts; the token is a secret. */
export interface Joined {
  readonly nodeName: string;
  /** The first one is of the pods' first family. */
  readonly nodeIps: readonly string[];
  readonly nodeExternalIps: readonly string[];
  readonly config: ServerConfig;
  readonly apiServerUrl: string;
  /** CA of supervisor, API server and kubelets; what the client certificates are checked against is `clientCa`. */
  readonly serverCa: string;
  readonly clientCa: string;
  /** Whom supervisor connections believe: `serverCa`, or the host's CA store where that vouched for the server. */
  readonly trust: Trust;
  readonly certificates: Certificates;
  /**
   * The pair of the kubelet's API. It comes a little later than the rest, since nothing but logs and exec needs it, and
   * the server takes its time to check the node password once more.
   */
  readonly serving: Promise<CertPair>;
  /** Certificates that were on disk and are used as they are. */
  readonly reused: readonly CertName[];
  /** Whole token, with the hash of the CA that was met; '' if the board joined by its certificate alone. */
  readonly token: string;
  readonly resolvConf: string;
  /** Settles when all files are written; failing to is logged, not fatal. */
  readonly persisted: Promise<void>;
}

export interface PassDemands {
  /** Ask for a new certificate although the old one still serves. */
  readonly renew?: (name: CertName) => boolean;
  /** Have the server check the node password even if no certificate is needed. */
  readonly proveIdentity?: boolean;
}

/** What is learnt on the way and worth knowing when the pass fails. */
export interface PassTrace {
  anchor?: Anchor;
}

/**
 * One try to join, in as few and as cheap requests as the protocol allows. First the CA bundle; then the configuration
 * beside the kubelet's certificate, which are what the server must check a password for; then, signed in with that
 * certificate, the rest. The addresses that a certificate covers do not depend on the configuration (only their order
 * does), so nothing waits for it. What is on disk and still good is used: a restart needs two small GETs.
 */
export async function joinPass(
  options: PassOptions,
  demands: PassDemands,
  trace: PassTrace,
  signal: AbortSignal,
): Promise<Joined> {
  const remembered = readBytes(options.paths.serverCa).catch(() => undefined);
  const stored = loadStored(options, remembered);
  stored.catch(() => {}); // awaited below, beside the first request
  const token = await readToken(options);
  for (let again = false; ; again = true) {
    const [found, local] = await Promise.all([
      anchorFor(options, token, again ? undefined : await remembered, signal),
      stored,
    ]);
    const x = { options, demands, token, local, anchor: found.anchor, outer: signal };
    trace.anchor = found.anchor;
    try {
      return await exchange(x);
    } catch (error) {
      if (signal.aborted || !(error instanceof JoinFailure) || error.step !== 'tls-ca' || again) throw error;
      // A remembered CA may have been replaced; a fresh bundle may be of no use because a public CA signed the server.
      if (found.remembered) {
        options.log.info('the remembered CA does not vouch for the server any more; asking for the present one');
        continue;
      }
      if (!(await systemTrusts({ ...options, expectedHash: undefined, now: options.clock.now() }))) throw error;
      trace.anchor = { trust: { kind: 'system' }, hash: '' };
      return await exchange({ ...x, anchor: trace.anchor });
    }
  }
}

interface Stored {
  readonly serverCa: Buffer | undefined;
  readonly clientCa: string | undefined;
  readonly pairs: Readonly<Record<CertName, CertPair | undefined>>;
  readonly node: NodeIdentity;
  readonly nodeIps: readonly string[];
}

async function loadStored(options: PassOptions, remembered: Promise<Buffer | undefined>): Promise<Stored> {
  const { paths, random } = options;
  const [serverCa, clientCa, name, password, facts, ...pairs] = await Promise.all([
    remembered,
    readText(paths.clientCa).catch(() => undefined),
    nodeName(options, paths),
    nodePassword(paths),
    (options.facts ?? networkFacts)(),
    ...CERT_NAMES.map((cert) => loadPair(paths, cert, random)),
  ]);
  const nodeIps = chooseNodeIps(options, facts);
  return {
    serverCa,
    clientCa,
    pairs: Object.fromEntries(CERT_NAMES.map((cert, i) => [cert, pairs[i]])) as Stored['pairs'],
    node: { name, password, ips: [...new Set([...nodeIps, ...options.nodeExternalIps])] },
    nodeIps,
  };
}

/** The token of this try. Throws JoinFailure `token`. */
async function readToken(options: Pick<PassOptions, 'token' | 'tokenFile'>): Promise<Token> {
  const { token, tokenFile } = options;
  if (tokenFile !== undefined && tokenFile !== '') {
    const text = await readText(tokenFile);
    if (text === undefined)
      throw new JoinFailure({
        step: 'token',
        message: `the token file ${tokenFile} is not there`,
        remedy: 'write the token into it; the agent goes on as soon as it is there',
      });
    if (text.trim() === '') throw new JoinFailure({ step: 'token', message: `the token file ${tokenFile} is empty` });
    return checkedToken(text.trim());
  }
  return token === undefined ? { caHash: undefined, credentials: { kind: 'none' } } : checkedToken(token.trim());
}

function checkedToken(text: string): Token {
  registerSecret(text);
  const token = parseToken(text);
  if (token.credentials.kind === 'basic') registerSecret(token.credentials.password);
  if (token.credentials.kind === 'bearer') registerSecret(token.credentials.token);
  return { ...token, credentials: asNode(token.credentials) };
}

/** Passes are repeated for as long as the process lives; what they have to say about the set-up they say once. */
const told = new WeakMap<PassOptions, Set<string>>();

function firstTime(options: PassOptions, what: string): boolean {
  const known = told.get(options) ?? new Set();
  told.set(options, known);
  return !known.has(what) && known.add(what).size > 0;
}

async function anchorFor(
  options: PassOptions,
  token: Token,
  remembered: Buffer | undefined,
  signal: AbortSignal,
): Promise<{ anchor: Anchor; remembered: boolean }> {
  const now = options.clock.now();
  const hash = remembered === undefined ? undefined : caHash(remembered, now);
  if (remembered !== undefined && hash !== undefined && (token.caHash ?? hash) === hash)
    return { anchor: { trust: { kind: 'pinned', ca: remembered.toString('utf8') }, hash }, remembered: true };
  const anchor = await findAnchor({ ...options, expectedHash: token.caHash, now, signal });
  if (anchor.trust.kind === 'pinned' && token.caHash === undefined && firstTime(options, 'first use'))
    options.log.warn(
      'the token names no CA, so the one that the server shows is trusted on first use; take the full token from node-token on the server to have it checked',
    );
  return { anchor, remembered: false };
}

function open(options: PassOptions, token: Token, anchor: Anchor, local: Stored): Supervisor {
  const kubelet = local.pairs['client-kubelet'];
  // Only while it is ours by name: the server refuses a request whose two names differ.
  const usable =
    kubelet !== undefined &&
    stillGood({ ...kubelet, renewAt: kubelet.notAfter }, { ...demandsOf('client-kubelet', options, local) });
  if (token.credentials.kind === 'none' && !usable)
    throw new JoinFailure({
      step: 'token',
      message: 'there is no token, and this board has no valid certificate to join with',
      remedy: 'give a token with --token or --token-file',
    });
  return createSupervisor({
    dialUrl: options.dialUrl,
    trust: anchor.trust,
    credentials: token.credentials,
    userAgent: options.userAgent,
    log: options.log,
    ...(usable && kubelet ? { client: { cert: kubelet.cert, key: kubelet.key } } : {}),
  });
}

function demandsOf(name: CertName, options: PassOptions, local: Stored) {
  const ca = name === 'serving-kubelet' ? local.serverCa?.toString('utf8') : local.clientCa;
  return { name, node: local.node, ca, now: options.clock.now() };
}

interface Exchange {
  readonly options: PassOptions;
  readonly demands: PassDemands;
  readonly token: Token;
  readonly anchor: Anchor;
  readonly local: Stored;
  readonly outer: AbortSignal;
}

async function exchange(x: Exchange): Promise<Joined> {
  const { options, demands, local, anchor } = x;
  const stop = new AbortController();
  const signal = AbortSignal.any([x.outer, stop.signal]);
  const supervisor = open(options, x.token, anchor, local);
  const good = CERT_NAMES.filter((name) => {
    const pair = local.pairs[name];
    return pair !== undefined && !demands.renew?.(name) && stillGood(pair, demandsOf(name, options, local));
  });
  const request = async (name: CertName): Promise<CertPair> =>
    requestPair({
      supervisor,
      name,
      key: await keyFor(options.paths, name, options.log),
      node: local.node,
      now: options.clock.now(),
      random: options.random,
      signal,
    });
  try {
    const rawConfig = supervisor.config(signal);
    const serverCa = anchor.trust.kind === 'pinned' ? anchor.trust.ca : supervisor.serverCa(signal);
    let kubelet = local.pairs['client-kubelet'];
    let isNew = !good.includes('client-kubelet');
    const first = isNew || demands.proveIdentity ? request('client-kubelet') : undefined;
    const known = await Promise.all([rawConfig, serverCa, first]);
    if (isNew) kubelet = known[2];
    if (isNew && kubelet) supervisor.useClient(kubelet);
    const clientCa = await supervisor.clientCa(signal);
    const config = parseServerConfig(known[0]);
    const nodeIps = orderNodeIps(local.nodeIps, config.podCidrs);
    checkFamilies(config, nodeIps);
    // What was good by the CA of yesterday is not by another one.
    const clientsStale = clientCa !== local.clientCa;
    const servingStale = known[1] !== local.serverCa?.toString('utf8');
    const reused = good.filter((name) => !(name === 'serving-kubelet' ? servingStale : clientsStale));
    if (!isNew && clientsStale) {
      kubelet = await request('client-kubelet');
      supervisor.useClient(kubelet);
      isNew = true;
    }
    const take = (name: CertName) => (reused.includes(name) ? (local.pairs[name] as CertPair) : request(name));
    const serving = Promise.resolve(take('serving-kubelet'));
    serving.catch(() => {}); // whoever awaits it hears of it; a failure of the others comes first
    const [proxy, controller, resolv] = await Promise.all([
      take('client-kube-proxy'),
      take('client-k3s-controller'),
      chooseResolvConf(options.resolvConf, options.paths.resolvConf),
    ]);
    if (resolv.generated && firstTime(options, 'resolv.conf'))
      options.log.warn('no resolv.conf of this host is usable in pods; they get public name servers', {
        file: resolv.path,
      });
    const joined = {
      nodeName: local.node.name,
      nodeIps,
      nodeExternalIps: options.nodeExternalIps,
      config,
      apiServerUrl: options.apiServerUrl(config),
      serverCa: known[1],
      clientCa,
      trust: anchor.trust,
      certificates: {
        'client-kubelet': kubelet as CertPair,
        'client-kube-proxy': proxy,
        'client-k3s-controller': controller,
      },
      serving,
      reused,
      token: formatToken(anchor.hash, x.token.credentials),
      resolvConf: resolv.path,
    };
    registerSecret(joined.token);
    const done = () => supervisor.close();
    serving.then(done, done);
    return { ...joined, persisted: persist(options, joined, known[0]) };
  } catch (error) {
    stop.abort();
    supervisor.close();
    throw error;
  }
}

/** Off the way to the first pod: each file costs two syncs, and an SD card takes 10 to 50 ms for one. */
async function persist(options: PassOptions, joined: Omit<Joined, 'persisted'>, rawConfig: unknown): Promise<void> {
  const { paths, log } = options;
  try {
    await ensureDir(paths.agentDir, 0o700);
    await writeIfChanged(paths.serverCa, joined.serverCa, 0o600);
    await writeIfChanged(paths.clientCa, joined.clientCa, 0o600);
    for (const [name, pair] of Object.entries(joined.certificates) as [ClientCertName, CertPair][])
      await savePair(paths, name, pair);
    for (const [name, file] of Object.entries(paths.kubeconfigs) as [CertName, string][])
      await writeIfChanged(
        file,
        kubeconfig(joined.apiServerUrl, paths.serverCa, paths.cert(name), paths.key(name)),
        0o600,
      );
    await writeState(paths.lastConfig, rawConfig, 0o600);
    const serving = await joined.serving.catch(() => undefined);
    if (serving) await savePair(paths, 'serving-kubelet', serving);
  } catch (error) {
    log.error("the certificates of this node can't be written; it must join anew after a restart", {
      folder: paths.agentDir,
      error: (error as { code?: string }).code ?? 'unknown',
    });
  }
}
