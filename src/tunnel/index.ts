export * from './authorizer.ts';
export { decodeFrame, EOF, encodeData, encodeFrame, type Frame, type Int64 } from './codec.ts';
export { Connections, type FrameTransport, type OpenLocal } from './connections.ts';
export { dialTunnel, type TunnelCredentials, type TunnelSocket, type TunnelTarget } from './dial.ts';
export { type LocalDialOptions, localDialer } from './local.ts';
export { TunnelManager, type TunnelManagerOptions } from './manager.ts';
export { ServerTunnel, type ServerTunnelOptions, type TunnelStatus } from './server-tunnel.ts';
export * from './servers-source.ts';
export { Session, type SessionEnd, type SessionOptions, type SilentSocket } from './session.ts';
