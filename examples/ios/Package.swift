// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "Earkit",
    platforms: [.iOS(.v15)],
    products: [.library(name: "Earkit", targets: ["Earkit"])],
    dependencies: [
        .package(url: "https://github.com/microsoft/onnxruntime-swift-package-manager", from: "1.20.0")
    ],
    targets: [
        .target(
            name: "Earkit",
            dependencies: [.product(name: "onnxruntime", package: "onnxruntime-swift-package-manager")]
        )
    ]
)
