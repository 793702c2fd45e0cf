export { decodeFrame, encodeFrame, type Frame } from './codec.ts';
export { Connections, type FrameTransport, type OpenLocal } from './connections.ts';
