export type { CertPair } from './cert-store.ts';
export { JoinFailure, type JoinStep } from './failure.ts';
export { createJoin, type Join, type JoinOptions, type JoinProgress, lastServerConfig } from './joiner.ts';
export { nodeName, nodePassword } from './node-identity.ts';
export { chooseNodeIps, type NetworkFacts, networkFacts, orderNodeIps } from './node-ips.ts';
export type { Certificates, ClientCertName, Joined, PassOptions } from './pass.ts';
export { joinPaths } from './paths.ts';
export { createRenewer, type Renewal, type Renewer } from './renewal.ts';
export { chooseResolvConf } from './resolv-conf.ts';
export { checkFamilies, parseServerConfig, type ServerConfig } from './server-config.ts';
export {
  CERT_NAMES,
  type CertName,
  createSupervisor,
  type NodeIdentity,
  type Supervisor,
  type SupervisorOptions,
} from './supervisor.ts';
export { authorization, type Credentials, formatToken, parseToken, type Token } from './token.ts';
export type { Trust } from './transport.ts';
