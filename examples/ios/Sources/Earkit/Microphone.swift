import AVFoundation

/// The microphone, as the embedder wants it: mono floats at 16 kHz.
///
/// The app needs NSMicrophoneUsageDescription in its Info.plist, and the user's permission:
/// `AVAudioSession.sharedInstance().requestRecordPermission`.
public final class Microphone {
    public enum Failure: Error {
        case noInput
    }

    private let engine = AVAudioEngine()

    public init() {}

    /// Hand on what is heard, in pieces, on a thread of the audio engine.
    public func start(_ heard: @escaping ([Float]) -> Void) throws {
        let session = AVAudioSession.sharedInstance()
        try session.setCategory(.record, mode: .measurement)  // without gain control and noise suppression
        try session.setActive(true)
        let input = engine.inputNode
        let device = input.outputFormat(forBus: 0)
        guard
            device.sampleRate > 0,
            let wanted = AVAudioFormat(
                commonFormat: .pcmFormatFloat32, sampleRate: 16_000, channels: 1, interleaved: false),
            let converter = AVAudioConverter(from: device, to: wanted)
        else { throw Failure.noInput }
        input.installTap(onBus: 0, bufferSize: 4096, format: device) { buffer, _ in
            heard(Self.convert(buffer, by: converter))
        }
        try engine.start()
    }

    public func stop() {
        engine.inputNode.removeTap(onBus: 0)
        engine.stop()
    }

    /// Convert one piece; the converter keeps what it still needs of it for the next one.
    private static func convert(_ buffer: AVAudioPCMBuffer, by converter: AVAudioConverter) -> [Float] {
        let ratio = converter.outputFormat.sampleRate / buffer.format.sampleRate
        let capacity = AVAudioFrameCount(Double(buffer.frameLength) * ratio) + 64
        guard let made = AVAudioPCMBuffer(pcmFormat: converter.outputFormat, frameCapacity: capacity) else { return [] }
        var isGiven = false
        converter.convert(to: made, error: nil) { _, status in
            status.pointee = isGiven ? .noDataNow : .haveData
            defer { isGiven = true }
            return isGiven ? nil : buffer
        }
        guard let samples = made.floatChannelData?[0] else { return [] }
        return Array(UnsafeBufferPointer(start: samples, count: Int(made.frameLength)))
    }
}
