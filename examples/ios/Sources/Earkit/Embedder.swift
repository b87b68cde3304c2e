import Foundation
import OnnxRuntimeBindings  // with CocoaPods: onnxruntime_objc

/// Sound in, vectors out, of one model file of earkit.
///
/// Needs nothing but that file and onnxruntime. Sound is mono, 16 kHz, floats in [-1, 1]. Several threads may share an
/// embedder. A run takes milliseconds: still, not on the main thread. onnxruntime's Swift interface does not hand out
/// the metadata of a file, so its description is not read here.
public final class Embedder {
    public enum Failure: Error {
        case noSamples
        case noOutput(String)
    }

    private let environment: ORTEnv
    private let session: ORTSession

    public init(model: URL, threads: Int32 = 1) throws {
        environment = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(threads)
        session = try ORTSession(env: environment, modelPath: model.path, sessionOptions: options)
    }

    /// Embed one clip. Gives a vector of length one.
    public func embed(_ samples: [Float]) throws -> [Float] {
        try run(samples, output: "embedding")
    }

    /// Give the tokens of one clip, one for every 40 ms that has begun.
    public func tokens(_ samples: [Float]) throws -> [Int64] {
        try run(samples, output: "tokens")
    }

    private func run<Value>(_ samples: [Float], output: String) throws -> [Value] {
        guard !samples.isEmpty else { throw Failure.noSamples }
        let count = samples.count
        let inputs = [
            "audio": try tensor(samples, .float, [1, NSNumber(value: count)]),
            "lengths": try tensor([Int64(count)], .int64, [1]),
        ]
        let outputs = try session.run(withInputs: inputs, outputNames: [output], runOptions: nil)
        guard let value = outputs[output] else { throw Failure.noOutput(output) }
        let data = try value.tensorData() as Data  // of the value: copied while that lives
        return withExtendedLifetime(value) { data.withUnsafeBytes { Array($0.bindMemory(to: Value.self)) } }
    }

    private func tensor<Value>(
        _ values: [Value], _ type: ORTTensorElementDataType, _ shape: [NSNumber]
    ) throws -> ORTValue {
        let data = values.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        return try ORTValue(tensorData: data, elementType: type, shape: shape)
    }
}

/// Cosine of two embeddings, which are of length one.
public func similarity(_ a: [Float], _ b: [Float]) -> Float {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
}
