/* Reasons that hold in more than one place. */

export const PROXY_CHAINS = 'the rules of Services are not made by the kubelet';
export const LOG = 'set the log of the agent with --debug, -v and --log';
export const DOCKER = 'dockershim left the kubelet in 1.24';
