export * from './authorizer.ts';
export { decodeFrame, EOF, encodeData, encodeFrame, type Frame, type Int64 } from './codec.ts';
export { Connections, type FrameTransport, type OpenLocal } from './connections.ts';
export { TunnelManager, type TunnelManagerOptions } from './manager.ts';
export { ServerTunnel, type ServerTunnelOptions, type TunnelStatus } from './server-tunnel.ts';
export * from './servers-source.ts';
