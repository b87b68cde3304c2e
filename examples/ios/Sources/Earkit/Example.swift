import Foundation

/// How alike are two sounds? The model file is in the app's bundle. Not on the main thread.
public func compare(_ first: [Float], _ second: [Float]) throws -> Float {
    guard let model = Bundle.main.url(forResource: "model", withExtension: "onnx") else {
        throw CocoaError(.fileNoSuchFile)
    }
    let embedder = try Embedder(model: model)
    return similarity(try embedder.embed(first), try embedder.embed(second))
}
