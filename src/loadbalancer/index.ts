export { LoadBalancer, type LoadBalancerOptions, type ServerStatus } from './load-balancer.ts';
export { proxyFor } from './proxy-env.ts';
export type { ServerState } from './servers.ts';
export { createDial, type Dial } from './upstream.ts';
