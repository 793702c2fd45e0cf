/** Set by the build; a run from the sources says so. */
export const VERSION: string = process.env.K3S_AGENT_VERSION ?? '0.1.0+source';
